"""Scoring: copy a file of rows and add a label and a certainty to each; resumable.

Imports `pipeline.data` and `quadnet.registry`; only the commands import it. Start at `scoring_job`.
"""
