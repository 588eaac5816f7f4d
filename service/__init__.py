"""The gRPC service: server, client and live models. Imports quadnet only."""
