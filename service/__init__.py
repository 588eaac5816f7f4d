"""The service: the gRPC server, its client, and the page in front of it.

Imports the library without its estimator, never the pipeline. A request is followed in this order:
`server`, `rpc`, `quadrant_v1` or `inference_v2`, `models`. Start at `server.server`.
"""
