"""A client of any published model: rows by column names in, answers out."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from quadnet.errors import InvalidInput, Violation
from quadnet.tables.frames import is_frame, make_frame
from service.client.arguments import check_integer, make_reference
from service.client.channel import INFERENCE_SERVICE
from service.client.errors import refine_error
from service.client.model_description import MATRIX, ModelDescription, read_description
from service.client.predictions import Predictions, join_predictions
from service.client.row_tensors import encode_rows
from service.client.server_client import ServerClient
from service.client.tensors import SentColumn, decode_outputs
from service.stubs.inference.v2 import inference_pb2 as pb

UNKNOWN_CATEGORIES = "unknown_categories"

_CALL_BYTES = 8 * 2**20
"""About the size of a call's request and answer, if the caller does not choose the rows of a call:
an eighth of a server's default limit, so that one call does not hold much of its memory."""

_COUNT = re.compile(r"(?:^|, )(.+?): (\d+)(?=, |$| and )", re.DOTALL)

_MATRIX_PLACE = re.compile(rf"{MATRIX}\[(\d+)\]\[(\d+)\]")


class ModelClient(ServerClient):
    """A connection to a server, for any of its models. Use it as a context manager, or close it.

    Its parameters are those of every client: see `ServerClient`.
    """

    def _open_methods(self) -> None:
        self._infer = self._unary(INFERENCE_SERVICE, "ModelInfer", pb.ModelInferResponse)
        self._metadata_of = self._unary(
            INFERENCE_SERVICE, "ModelMetadata", pb.ModelMetadataResponse
        )
        self._index = self._unary(INFERENCE_SERVICE, "RepositoryIndex", pb.RepositoryIndexResponse)
        # By the reference of a caller, and by the number of the version.
        self._descriptions: dict[tuple[str, str], ModelDescription] = {}

    def predict(
        self,
        model: str,
        rows: Any,
        *,
        version: int | None = None,
        alias: str = "",
        rows_a_call: int | None = None,
    ) -> Any:
        """Return a model's answers for rows.

        Parameters
        ----------
        model : str
            The model; "" for the server's default model.
        rows : data frame, mapping of str to values, list of mappings, or array-like
            A data frame of pandas, polars or pyarrow; columns by their names, each with a value for
            each row; the values of one row by their names, or a list of such rows; or an array of
            shape (n_rows, n_columns), whose columns are in the order of `describe`. The order of
            named columns is free. Missing values are `None`, NaN or NaT.
        version : int, optional
            The version number, instead of an alias.
        alias : str, default=""
            The alias; "" for the server's default alias.
        rows_a_call : int, optional
            Maximum number of rows per call. More rows are sent in several calls, each with its own
            timeout. The same version answers all calls, even if another one is published in
            between. By default as many rows as have about 8 MB, and at most the server's limit.

        Returns
        -------
        Predictions or data frame
            For a data frame, one of the same library, and in pandas with the same index. Its
            columns are ``label`` and ``probability_CLASS`` of each class; or ``value`` and
            ``quantile_LEVEL`` of each quantile; or ``label_NAME`` and ``probability_NAME`` of each
            label.

        Raises
        ------
        InvalidInput
            If a column is missing or unknown, or a value is of another kind, or has no meaning to
            the model, such as a gap in a column without gaps in training. The message names the
            column and the row. Also if another argument is invalid.
        NotFound, CorruptVersion
            If the model does not exist, or is damaged.
        Overloaded, NotReady, Unauthenticated
            If the server is overloaded, has no version loaded, or does not accept the token.
        TooLarge
            If a call has more bytes than the server accepts: set a smaller `rows_a_call`.
        Unreachable
            If no server answers in time, or this client is closed.
        Refused
            If the server answers with another error.
        MissingExtra
            If the rows are a data frame, and narwhals is not installed.
        """
        reference = _Reference.from_arguments(model, version, alias)
        if rows_a_call is not None:
            rows_a_call = check_integer(
                "rows_a_call", rows_a_call, range(1, 2**63), "a whole number from 1"
            )
        answers = self._predict_as_described(reference, rows, rows_a_call)
        if not is_frame(rows):
            return answers
        return make_frame(answers.to_columns(), like=rows)

    def describe(
        self, model: str = "", *, version: int | None = None, alias: str = ""
    ) -> ModelDescription:
        """Return the columns that a version takes, its outputs and its limits.

        Parameters
        ----------
        model : str, default=""
            The model; "" for the server's default model.
        version : int, optional
            The version number, instead of an alias.
        alias : str, default=""
            The alias; "" for the server's default alias.
        """
        return self._describe(_Reference.from_arguments(model, version, alias))

    def models(self) -> pb.RepositoryIndexResponse:
        """Return every version of every model, its state, and why it does not answer."""
        return self._call(self._index, pb.RepositoryIndexRequest())

    def _describe(self, reference: _Reference) -> ModelDescription:
        """Read a description from the server, and remember it."""
        request = pb.ModelMetadataRequest(name=reference.model, version=reference.version)
        description = read_description(self._call(self._metadata_of, request))
        self._descriptions[reference.model, reference.version] = description
        self._descriptions[reference.model, str(description.version)] = description
        return description

    def _predict_as_described(
        self, reference: _Reference, rows: Any, rows_a_call: int | None
    ) -> Predictions:
        """Predict by the remembered description, which is read again if it is of another version.

        An alias may have moved since it was read.
        """
        remembered = self._descriptions.get((reference.model, reference.version))
        described = remembered or self._describe(reference)
        try:
            return self._predict(reference, described, rows, rows_a_call)
        except _OtherVersion as other:
            current = self._descriptions.get((reference.model, other.version)) or self._describe(
                _Reference(reference.model, other.version)
            )
            self._descriptions[reference.model, reference.version] = current
            # By its number: the alias may move once more.
            return self._predict(
                _Reference(reference.model, other.version), current, rows, rows_a_call
            )
        except InvalidInput:
            if remembered is None:
                raise
            current = self._describe(reference)
            if current.reads_like == remembered.reads_like:
                raise
            return self._predict(
                _Reference(reference.model, str(current.version)), current, rows, rows_a_call
            )

    def _predict(
        self,
        reference: _Reference,
        described: ModelDescription,
        rows: Any,
        rows_a_call: int | None,
    ) -> Predictions:
        """Send the rows in calls, all of which the version of the first one answers.

        Raises
        ------
        _OtherVersion
            If the version that answers the first call is not the described one.
        """
        columns = encode_rows(rows, described)
        n_rows = len(columns[0].values)
        step = rows_a_call or _choose_rows(columns, described)
        outputs: list[Mapping[str, NDArray[Any]]] = []
        unknown: dict[str, int] = {}
        for start in range(0, max(n_rows, 1), step):
            request = pb.ModelInferRequest(
                model_name=reference.model, model_version=reference.version
            )
            part = slice(start, min(start + step, n_rows))
            for column in columns:
                column.add_to(request, part)
            try:
                response = self._call(self._infer, request)
            except InvalidInput as error:
                named = _name_columns(error, described)
                raise refine_error(
                    named, start, part.stop - start, argument="rows_a_call"
                ) from error
            if response.model_version != str(described.version):
                raise _OtherVersion(response.model_version)
            reference = _Reference(reference.model, response.model_version)
            outputs.append(decode_outputs(response))
            for name, count in _read_unknown(response, described.columns).items():
                unknown[name] = unknown.get(name, 0) + count
        return join_predictions(outputs, described, unknown)


@dataclass(frozen=True)
class _Reference:
    """A model and its version: a number, an alias, or "" for the server's default alias."""

    model: str
    version: str

    @classmethod
    def from_arguments(cls, model: object, version: object, alias: object) -> _Reference:
        """Return the reference; raise InvalidInput for wrong types, or a version and an alias."""
        checked = make_reference(model, version, alias)
        return cls(checked.name, str(checked.version) if version is not None else checked.alias)


class _OtherVersion(Exception):
    """A call was answered by another version than the described one."""

    def __init__(self, version: str) -> None:
        self.version = version
        super().__init__(version)


def _choose_rows(columns: list[SentColumn], described: ModelDescription) -> int:
    """Return a number of rows whose request and answer have at most about `_CALL_BYTES`.

    It is a power of two, as the slices are in which servers compute rows: BLAS rounds other shapes
    otherwise.
    """
    row_bytes = max(sum(column.row_bytes for column in columns), described.row_bytes, 1)
    rows = max(1, int(_CALL_BYTES / row_bytes))
    if described.max_rows is not None:
        rows = min(rows, described.max_rows)
    return 1 << rows.bit_length() - 1


def _name_columns(error: InvalidInput, described: ModelDescription) -> InvalidInput:
    """Return the error with the caller's columns: age[3] in place of x[3][0]."""
    if described.has_encoder:
        return error
    names = list(described.columns)

    def rename(place: re.Match[str]) -> str:
        return f"{names[int(place[2])]}[{place[1]}]"

    violations = [
        Violation(_MATRIX_PLACE.sub(rename, violation.field), violation.description)
        for violation in error.violations
    ]
    return InvalidInput(violations, error.total, kind=error.kind, facts=error.facts)


def _read_unknown(response: pb.ModelInferResponse, columns: Collection[str]) -> dict[str, int]:
    """Return the counts of unknown categories, which the response has as "city: 3, plan: 1"."""
    if UNKNOWN_CATEGORIES not in response.parameters:
        return {}
    text = response.parameters[UNKNOWN_CATEGORIES].string_param
    found = {match[1]: int(match[2]) for match in _COUNT.finditer(text)}
    return {name: count for name, count in found.items() if name in columns}
