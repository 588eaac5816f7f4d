"""The command line: the table of verbs, the parser, and the settings that verbs are made of.

Any side may import `settings` and `parser`, which load no NumPy. `main` alone may import both the
pipeline and the service, inside functions. Start at `main`.
"""
