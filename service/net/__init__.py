"""The network below gRPC: addresses, TLS files, tokens, and connections.

Imports `quadnet` and `service.settings`; server, client and page import it. Start at `address`.
"""
