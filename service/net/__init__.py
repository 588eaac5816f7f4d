"""The network below gRPC: addresses, TLS files, tokens, connections, allowed host names.

Imports `quadnet` and `service.settings`; server, client and page import it. Start at `address`.
"""
