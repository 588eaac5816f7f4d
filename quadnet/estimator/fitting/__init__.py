"""The fit: its loop over epochs, early stopping, callbacks, the history, and its warnings.

Imports `quadnet.nn` and the estimator's targets; only `classifier` imports it. Start at `fit_loop`.
"""
