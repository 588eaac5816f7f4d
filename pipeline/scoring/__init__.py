"""Scoring: copy a file of rows and add the answer of a model to each; resumable.

Imports `pipeline.data` and `quadnet.registry`; only the commands import it. Start at `scoring_job`.
"""
