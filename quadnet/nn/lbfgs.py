"""L-BFGS: full-batch training by SciPy's quasi-Newton minimiser."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult, minimize

from quadnet.nn.backpropagation import Workspace
from quadnet.nn.losses.of_classes import find_values
from quadnet.nn.network import Network
from quadnet.types import BoolArray, FloatArray


class Objective:
    """The mean loss over a data set, penalty included, as a function of the flat parameters.

    Parameters
    ----------
    network : Network
        In float64, which line searches need. Each call changes its parameters.
    X : ndarray or SciPy CSR matrix of shape (n_rows, n_in)
    Y : ndarray of bool or float, shape (n_rows, n_outputs)
    weights : ndarray of shape (n_rows,), optional
    alpha : float
        Strength of the L2 penalty, which is divided by the sum of the row weights.
    """

    def __init__(
        self,
        network: Network,
        X: Any,
        Y: BoolArray | FloatArray,
        *,
        weights: FloatArray | None = None,
        alpha: float = 0.0,
    ) -> None:
        n_rows = X.shape[0]
        self.network = network
        self._X = X.astype(np.float64, copy=False)
        self._values = find_values(network.loss, Y.dtype)
        self._Y = np.ascontiguousarray(Y.T, np.float64)
        weights = np.ones(n_rows) if weights is None else weights.astype(np.float64)
        self._scale = weights / weights.sum()
        self._decay = network.parameters.weights_only(alpha / float(weights.sum()))
        self._gradient = network.parameters.like()
        self._workspace = Workspace(network, n_rows, self._gradient)
        self._P = np.empty_like(self._Y)

    def __call__(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """Return the value and the gradient, a new array, at theta."""
        self.network.parameters.flat[:] = theta
        self._workspace.forward(self._X, self._P)
        values = self._values(self._P, self._Y)
        self._workspace.backward(self._P, self._Y, self._scale)
        penalty = self._decay * theta
        value = float(values.dot(self._scale)) + 0.5 * float(penalty.dot(theta))
        return value, self._gradient.flat + penalty

    def shown(self, value: float) -> float:
        """Return the loss that users see, for a value at the network's parameters."""
        divisor, theta = self.network.loss_divisor, self.network.parameters.flat
        if divisor == 1:
            return value
        penalty = 0.5 * float((self._decay * theta).dot(theta))
        return (value - penalty) / divisor + penalty


def minimize_objective(
    objective: Objective,
    *,
    max_iter: int,
    max_fun: int,
    tol: float,
    after_iteration: Callable[[float], bool],
) -> OptimizeResult:
    """Minimise the objective in place, with its network.

    Parameters
    ----------
    objective : Objective
    max_iter, max_fun : int
        The most iterations, and the most evaluations of the objective.
    tol : float
        Largest partial derivative at which the minimisation has converged.
    after_iteration : callable
        Called with the loss that users see after each iteration. Minimisation stops if it returns
        True.

    Returns
    -------
    scipy.optimize.OptimizeResult
        `nit` is the number of iterations; `status` is 0 if they converged.
    """
    parameters = objective.network.parameters

    def callback(intermediate_result: OptimizeResult) -> None:
        # The line search leaves its last trial in the network, which is not always the best.
        parameters.flat[:] = intermediate_result.x
        if after_iteration(objective.shown(float(intermediate_result.fun))):
            raise StopIteration

    result = minimize(
        objective,
        parameters.flat.copy(),
        method="L-BFGS-B",
        jac=True,
        callback=callback,
        options={"maxiter": max_iter, "maxfun": max_fun, "gtol": tol},
    )
    parameters.flat[:] = result.x
    return result
