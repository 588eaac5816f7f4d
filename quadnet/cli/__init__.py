"""The command line: the table of verbs, the parser, and the settings that several verbs share.

The pipeline and the service may import `settings` and `parser`, which do not load NumPy. `main` and
`up` import the pipeline and the service, inside functions. Start at `main`.
"""
