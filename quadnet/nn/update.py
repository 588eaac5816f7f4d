"""One update: the gradient of a mini-batch's loss, its penalty, and the optimizer's step."""

from typing import Any

import numpy as np

from quadnet.nn.backpropagation import Workspace
from quadnet.nn.optimizers import Optimizer
from quadnet.types import FloatArray


class Update:
    """The update of mini-batches of one size.

    It is recorded and replayed from C, so that it is one list of NumPy calls: it branches on
    settings, never on values.

    Parameters
    ----------
    workspace : Workspace
    optimizer : Optimizer
    penalty_vector : ndarray of shape (n_parameters,), optional
        Its product with the parameters is the penalty's gradient.
    penalty_by_weight : bool, default=False
        Whether the penalty is also divided by the weight of the mini-batch.
    max_norm : float, optional
        Longer gradients are scaled down to this Euclidean norm (Pascanu et al., 2013).
    scratch : ndarray of shape (n_parameters,)
        Overwritten.
    """

    def __init__(
        self,
        workspace: Workspace,
        optimizer: Optimizer,
        *,
        penalty_vector: FloatArray | None = None,
        penalty_by_weight: bool = False,
        max_norm: float | None = None,
        scratch: FloatArray,
    ) -> None:
        self.workspace, self._optimizer = workspace, optimizer
        parameters = workspace.network.parameters
        self._theta = parameters.flat
        self._has_untrained = parameters.n_trained < len(parameters.flat)
        self._gradient = optimizer.gradient
        self._penalty_vector, self._penalty_by_weight = penalty_vector, penalty_by_weight
        self._max_norm, self._scratch = max_norm, scratch

    def state(self) -> tuple[FloatArray, ...]:
        """Return the arrays that an update changes for the next one."""
        arrays = (self._theta, self._optimizer.moments)
        # No backward pass writes the gradient of running means: the NaN that weight decay makes of
        # an infinite one would stay there for the next update.
        return (*arrays, self._gradient) if self._has_untrained else arrays

    def nanoseconds(self) -> float:
        """Return about how long an update takes, on one core."""
        network, n_rows = self.workspace.network, self.workspace.n_rows
        shapes = zip(network.layers, network.shapes, strict=False)
        predicting = sum(layer.nanoseconds(shape) for layer, shape in shapes)
        # The backward pass takes twice as long as the forward pass.
        return 3.0 * predicting * n_rows + 10.0 * len(self._theta)

    def __call__(  # noqa: PLR0917 - called for every mini-batch
        self,
        X: Any,
        Y: FloatArray,
        P: FloatArray,
        scale: Any,
        inverse_weight: float,
        learning_rate: float,
        step_size: float,
    ) -> Any:
        """Update the parameters; return twice the penalty, divided by the weight, if there is one.

        X has shape (n_rows, n_in) and Y (n_outputs, n_rows). The outputs are written into P. The
        gradients of the examples are multiplied by `scale`.
        """
        self.workspace.forward(X, P)
        self.workspace.backward(P, Y, scale)
        theta, gradient, penalty = self._theta, self._gradient, None
        if self._penalty_vector is not None:
            penalty_gradient = self._scratch
            np.multiply(theta, self._penalty_vector, out=penalty_gradient)
            if self._penalty_by_weight:
                penalty_gradient *= inverse_weight
            gradient += penalty_gradient
            penalty = theta.dot(penalty_gradient)
        if self._max_norm is not None:
            self._shorten(self._max_norm)
        self._optimizer.step(theta, learning_rate, step_size)
        return penalty

    def _shorten(self, longest: float) -> None:
        gradient, scratch = self._gradient, self._scratch
        # Squares overflow long before the gradient does: it is divided by its largest value first.
        np.absolute(gradient, out=scratch)
        largest = np.maximum(np.maximum.reduce(scratch), np.finfo(gradient.dtype).tiny)
        np.divide(gradient, largest, out=scratch)
        factor = np.divide(np.divide(longest, largest), np.sqrt(scratch.dot(scratch)))
        gradient *= np.minimum(factor, 1.0)
