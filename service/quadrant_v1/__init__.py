"""Quadnet's own API, quadrant.v1: its methods, and the conversion of messages to and from arrays.

Imports rpc, models and wire; the server imports it, the client its codec, and the page also its
layer messages. Start at `servicer`; the contract is protos/quadrant/v1/quadrant.proto.
"""
