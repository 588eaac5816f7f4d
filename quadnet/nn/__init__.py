"""The mathematics: a network of dense layers, how it predicts and how it is trained.

Arrays in, arrays out: no files, clocks, logs or threads. Imports NumPy, SciPy (only for L-BFGS) and
`quadnet.types`; the estimator, the registry and the service import it. Start at `network`, then
`backpropagation` and `training`.
"""
