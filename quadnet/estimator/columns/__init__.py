"""What becomes of the columns of X before the network: their encoding, and their scaling.

Both are learned by a fit and belong to the fitted estimator. Start at `encoding`.
"""
