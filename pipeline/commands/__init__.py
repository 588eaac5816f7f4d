"""The verbs of the pipeline: settings in, an exit code out; each prints what it did.

Imports every other folder of the pipeline, late; only the command line's table names it. Start at
`train`.
"""
