"""The gradient, checked against central differences."""

from quadnet.nn.lbfgs import Objective
from quadnet.types import FloatArray


def largest_error(objective: Objective, theta: FloatArray, *, step: float = 1e-5) -> float:
    """Return the largest error of backpropagation's gradient at theta, as a share of its size.

    Each partial derivative is compared with (f(theta + h) - f(theta - h)) / 2h, whose own error is
    of order h^2. The difference is divided by the largest partial derivative.
    """
    _, gradient = objective(theta)
    size = max(float(abs(gradient).max()), 1e-12)
    worst = 0.0
    for i in range(len(theta)):
        moved = theta.copy()
        moved[i] = theta[i] + step
        above, _ = objective(moved)
        moved[i] = theta[i] - step
        below, _ = objective(moved)
        worst = max(worst, abs(float(gradient[i]) - (above - below) / (2.0 * step)) / size)
    return worst
