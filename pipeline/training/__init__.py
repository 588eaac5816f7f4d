"""Training: from a run's configuration and rows to a network that is ready for evaluation.

Imports `pipeline.data` and the estimator; evaluation, search and the commands import it. Start at
`candidate_training`.
"""
