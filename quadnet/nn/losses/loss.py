"""What the network needs of its output layer."""

from typing import ClassVar, Protocol

from quadnet.types import FloatArray


class Loss(Protocol):
    """What the network needs of its output layer.

    Z are logits of shape (n_outputs, n_examples); P are the outputs and Y the targets of that
    shape, 0 or 1 for classes. Scratch arrays are overwritten; without them, new arrays are
    allocated.
    """

    multilabel: ClassVar[bool]
    """Whether an example may have any number of classes; otherwise it has one."""

    link_name: ClassVar[str]
    """The name of the link, such as "softmax"."""

    averages_outputs: ClassVar[bool]
    """Whether users see the loss divided by the number of outputs, as scikit-learn's squared error
    is. The gradient is always that of the sum, so that no output learns more slowly for others."""

    def link(self, Z: FloatArray, row: FloatArray | None = None) -> None:
        """Replace the logits Z by the outputs P; `row` is scratch of shape (n_examples,)."""

    def delta(
        self, P: FloatArray, Y: FloatArray, out: FloatArray, scratch: FloatArray | None = None
    ) -> None:
        """Write each example's gradient with respect to its logits into `out`."""

    def values(self, P: FloatArray, Y: FloatArray) -> FloatArray:
        """Return each example's loss; leading axes of P and Y are kept: (..., n_examples)."""

    def probabilities(self, Z: FloatArray) -> FloatArray:
        """Return the probabilities, (n_classes, n_examples), from the logits.

        The logits are overwritten. A single output stands for two classes. Those of one example may
        be a vector.
        """

    def log_probabilities(self, Z: FloatArray) -> FloatArray:
        """Return the logarithms of the probabilities, from the logits: finite where Z is."""
