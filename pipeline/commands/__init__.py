"""The commands of the pipeline: each takes settings, prints what it did and returns an exit code.

Imports every other folder of the pipeline, inside its functions. Only the command line's table
names this package. Start at `train`.
"""
