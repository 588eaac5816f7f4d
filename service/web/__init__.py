"""The page: a gateway in front of the gRPC server, and what the browser is sent."""
