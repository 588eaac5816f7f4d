"""The Open Inference Protocol, version 2: its methods, input and output tensors, and metadata.

Imports rpc, models and wire; only the server imports it. Start at `methods`, which knows no
transport; `servicer` and `grpc_messages` are its gRPC side. The contract is
protos/inference/v2/inference.proto.
"""
