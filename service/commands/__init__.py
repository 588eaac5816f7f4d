"""The verbs of the service: each function takes settings and returns an exit code.

Imports every other folder of the service; only the table of verbs in `quadnet.cli` refers to it.
Start at `serve`.
"""
