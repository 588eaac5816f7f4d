"""The verbs of the service: settings in, an exit code out.

Imports every other folder of the service; only the command line's table names it. Start at
`serve`.
"""
