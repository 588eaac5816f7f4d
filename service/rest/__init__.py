"""The REST side of the server: the same methods and policies as over gRPC, over HTTP/1.1.

It runs in the process and on the event loop of the gRPC server; only service/server imports it,
and only if it has a port for HTTP. Start at `http_server`, then `http_runner`; `routes` is the
table of methods.
"""
