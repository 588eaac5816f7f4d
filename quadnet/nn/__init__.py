"""The mathematics: a network of dense layers, its predictions and its training.

Arrays in, arrays out: no files, clocks, logs or threads. Imports NumPy, SciPy (only for L-BFGS) and
`quadnet.types`; the estimator, the registry and the service import it. Start at `network`, then
`backpropagation` and `training`; `solvers` is the table of what trains.
"""
