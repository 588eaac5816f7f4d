"""Scoring: a file of rows in, the same rows with a label and a certainty out, resumable.

Imports `pipeline.data` and `quadnet.registry`; only the commands import it. Start at `scoring_job`.
"""
