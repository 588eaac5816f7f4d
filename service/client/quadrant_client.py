"""A client of `quadrant.v1.QuadrantService`: arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quadnet.errors import InvalidInput
from quadnet.types import FloatArray
from service.client.arguments import (
    check_flag,
    check_fraction,
    check_integer,
    check_sequence,
    check_text,
    convert_to_floats,
    invalid_input,
    make_column_values,
    make_reference,
)
from service.client.errors import refine_error
from service.client.server_client import ServerClient
from service.quadrant_v1 import codec
from service.quadrant_v1.codec import SERVICE
from service.stubs.quadrant.v1 import quadrant_pb2 as pb

POINTS_PER_CALL = 100_000
"""Default number of points in one call: far below a server's default limit."""

_NAMES = np.array(
    [codec.QUADRANT_NAMES.get(number, "") for number in range(max(codec.QUADRANT_NAMES) + 1)]
)
"""The names of the quadrants, by their number on the wire; "" for no quadrant."""


@dataclass(frozen=True)
class Answers:
    """The quadrants and certainties of points, and the version that answered.

    Attributes
    ----------
    model : str
    version : int
    digest : str
        SHA-256 of the version's manifest.
    quadrants : ndarray of str, shape (n_points,)
        The name of each point's quadrant, or "" if the server does not give one.
    certainties : ndarray of shape (n_points,)
        The probability of the most probable quadrant.
    all_certainties : ndarray of shape (n_points, 4), or None
        The probabilities of I, II, III and IV, if requested.
    """

    model: str
    version: int
    digest: str
    quadrants: NDArray[np.str_]
    certainties: FloatArray
    all_certainties: FloatArray | None = None


class QuadrantClient(ServerClient):
    """A connection to a server, for points of the plane. Use it as a context manager, or close it.

    Its parameters are those of every client: see `ServerClient`.
    """

    def _open_methods(self) -> None:
        # Bytes in both directions: requests are encoded from arrays, without a message.
        self._classify: Callable[..., bytes] = self._channel.unary_unary(f"/{SERVICE}/Classify")
        self._list_models = self._unary(SERVICE, "ListModels", pb.ListModelsResponse)
        self._get_model = self._unary(SERVICE, "GetModel", pb.GetModelResponse)
        self._explain = self._unary(SERVICE, "Explain", pb.ExplainResponse)

    def classify(
        self,
        points: ArrayLike,
        *,
        model: str = "",
        version: int | None = None,
        alias: str = "",
        min_certainty: float = 0.0,
        all_certainties: bool = False,
        points_a_call: int = POINTS_PER_CALL,
    ) -> Answers:
        """Return the quadrants of points.

        Parameters
        ----------
        points : array_like of shape (n_points, 2)
        model : str, default=""
            The model; "" for the server's default model.
        version : int, optional
            The version number, instead of an alias.
        alias : str, default=""
            The alias; "" for the server's default alias.
        min_certainty : float, default=0
            Points whose certainty is lower get the quadrant "".
        all_certainties : bool, default=False
            Whether to return the certainties of all four quadrants.
        points_a_call : int, default=100_000
            Maximum number of points per call. More points are sent in several calls, each with its
            own timeout. The same version answers all calls, even if another one is published in
            between.

        Returns
        -------
        Answers

        Raises
        ------
        InvalidInput
            If the array has a wrong shape or a number that is not finite, or another argument
            is invalid, such as a `points_a_call` above the server's limit, which is then
            ``error.facts["max_points"]``.
        NotFound, Unsupported, CorruptVersion
            If the model does not exist, has other classes than the quadrants, or is damaged.
        Overloaded, NotReady, Unauthenticated
            If the server is overloaded, has no version loaded, or does not accept the token.
        TooLarge
            If a call has more bytes than the server accepts: set a smaller `points_a_call`.
        Unreachable
            If no server answers in time, or this client is closed.
        Refused
            If the server answers with another error.
        """
        X = convert_to_floats("points", points, "(n_points, 2)")
        if X.ndim != 2 or X.shape[1] != 2:
            raise invalid_input("points", f"expected the shape (n_points, 2), got {X.shape}")
        points_a_call = check_integer(
            "points_a_call", points_a_call, range(1, 2**63), "a whole number from 1"
        )
        min_certainty = check_fraction("min_certainty", min_certainty)
        all_certainties = check_flag("all_certainties", all_certainties)
        ref = make_reference(model, version, alias)
        parts = []
        for start in range(0, max(len(X), 1), points_a_call):
            points_of_call = X[start : start + points_a_call]
            request = codec.encode_points(
                ref,
                points_of_call,
                min_certainty=min_certainty,
                all_certainties=all_certainties,
            )
            try:
                part = pb.ClassifyResponse.FromString(self._call(self._classify, request))
            except InvalidInput as error:
                raise refine_error(
                    error, start, len(points_of_call), argument="points_a_call"
                ) from error
            parts.append(part)
            # The version that answered the first call answers all.
            ref = pb.ModelRef(name=part.model.name, version=part.model.version)
        return _join_parts(parts, all_certainties=all_certainties)

    def list_models(self, model: str = "") -> pb.ListModelsResponse:
        """Return all models, or this one: versions, aliases, and why a version does not load."""
        request = pb.ListModelsRequest(name=check_text("model", model))
        return self._call(self._list_models, request)

    def get_model(
        self, model: str = "", *, version: int | None = None, alias: str = ""
    ) -> pb.GetModelResponse:
        """Return the complete description of one version: layers, arrays, classes, metrics."""
        request = pb.GetModelRequest(model=make_reference(model, version, alias))
        return self._call(self._get_model, request)

    def explain(
        self,
        features: Iterable[float] | Mapping[str, float | str | date | None],
        *,
        model: str = "",
        version: int | None = None,
        alias: str = "",
    ) -> pb.ExplainResponse:
        """Return the trace of one input through the network, layer by layer.

        Parameters
        ----------
        features : iterable of float, or mapping
            A number for each feature; or, for a version that takes a table's columns, the value of
            each column by its name: a number, a text, a date or a datetime, or None for missing.
        model, version, alias
            As for `classify`.
        """
        request = pb.ExplainRequest(model=make_reference(model, version, alias))
        if isinstance(features, Mapping):
            request.columns.extend(make_column_values("features", features))
        else:
            x = convert_to_floats("features", check_sequence("features", features), "(n_features,)")
            if x.ndim != 1:
                raise invalid_input("features", f"expected the shape (n_features,), got {x.shape}")
            request.features.extend(x.tolist())
        return self._call(self._explain, request)


def _join_parts(parts: list[pb.ClassifyResponse], *, all_certainties: bool) -> Answers:
    """Return the answers of all calls, in order."""
    numbers = np.concatenate([np.array(part.quadrants, np.intp) for part in parts])
    # A newer server may send numbers that this client does not know.
    numbers[numbers >= len(_NAMES)] = pb.QUADRANT_UNSPECIFIED
    certainties = np.concatenate([np.array(part.all_certainties, np.float32) for part in parts])
    version = parts[0].model
    return Answers(
        model=version.name,
        version=version.version,
        digest=version.digest,
        quadrants=_NAMES[numbers],
        certainties=np.concatenate([np.array(part.certainties, np.float32) for part in parts]),
        all_certainties=certainties.reshape(-1, 4) if all_certainties else None,
    )
