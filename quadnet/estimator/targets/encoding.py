"""How the outputs of a network encode y: what labels and numbers have in common."""

from typing import Any, Protocol

from quadnet.nn.network import Network
from quadnet.types import BoolArray, FloatArray


class TargetEncoding(Protocol):
    """How a network's outputs encode y."""

    @property
    def n_outputs(self) -> int:
        """Number of outputs of the network."""

    def encode(self, y: Any) -> BoolArray | FloatArray:
        """Return the target of each of the network's outputs, of shape (n_rows, n_outputs)."""

    def conform(self, y: Any) -> Any:
        """Return a later y as `encode` needs it.

        Raises
        ------
        ValueError
            If it is not of the same kind.
        """

    def choose_loss(self, loss: str) -> str:
        """Return the network's loss, by its name, for the estimator's parameter `loss`."""

    @property
    def loss_settings(self) -> dict[str, Any]:
        """The settings of the loss that is trained on what `encode` returns."""

    @property
    def unscaled(self) -> "TargetEncoding":
        """The encoding for a network whose outputs have the units of y."""

    def measured(self, y: Any, weights: FloatArray | None) -> "TargetEncoding":
        """Return the encoding with the means and deviations of y, if it needs them."""

    def to_units(self, network: Network) -> Network:
        """Return a trained network whose outputs have the units of y: itself, or a copy."""

    def from_units(self, network: Network) -> None:
        """Undo `to_units`, in place, to continue training."""

    def fitted_attributes(self) -> dict[str, Any]:
        """Return the attributes of a fitted estimator that describe y."""
