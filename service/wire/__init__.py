"""Arrays in protobuf messages, and the checks that both APIs share.

Imports `quadnet` only; both APIs and the client import it. Start at `packed_arrays`.
"""
