"""Quadnet's own API, quadrant.v1: its methods, and the conversion of messages to and from arrays.

Imports rpc, models and wire; the server imports it, and the client and the page its codec. Start at
`servicer`; the contract is protos/quadrant/v1/quadrant.proto.
"""
