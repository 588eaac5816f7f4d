"""From a run's configuration and its rows to a trained network that could be published.

Imports `pipeline.data` and the estimator; evaluation, search and the commands import it. Start at
`candidate_training`.
"""
