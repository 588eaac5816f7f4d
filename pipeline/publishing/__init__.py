"""Publishing of an evaluated candidate as a version, and export of a version to ONNX.

Imports evaluation, report and `quadnet.registry`; only the commands import it. Start at
`candidate_publishing`.
"""
