"""The run file: everything that decides what a training run does, validated as one tree."""

import hashlib
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from quadnet.errors import InvalidSetting
from quadnet.names import ModelName

Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class QuadrantsData(_Section):
    """Points in [-1, 1) x [-1, 1), labelled with their quadrant."""

    kind: Literal["quadrants"]
    placement: Literal["uniform", "centres"] = "uniform"
    """Anywhere in the square, or on the four quadrants' centres in turn."""
    points: Annotated[int, Field(ge=4, le=10_000_000)]
    draws: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Train on this many rows drawn from the points at random, with replacement, as the article's
    loop does; with a batch size of 1 that is the number of updates. Unset: on each point once an
    epoch."""
    seed: Seed = 0


class DigitsData(_Section):
    """scikit-learn's 1,797 scans of handwritten digits: 8 x 8 pixels, each from 0 to 16."""

    kind: Literal["digits"]


class TestPart(_Section):
    """The held-out part, which training never sees: new points, or scans put aside."""

    points: Annotated[int, Field(ge=1, le=10_000_000)] = 10_000
    seed: Seed = 1


class Gate(_Section):
    """What the held-out part must show before the model is published."""

    accuracy: Annotated[float, Field(ge=0, le=1)]


class RunConfig(_Section):
    """One run: the name it publishes under, its data, its network, its test and its gate."""

    name: ModelName
    data: Annotated[QuadrantsData | DigitsData, Field(discriminator="kind")]
    network: dict[str, JsonValue] = {}
    """Parameters of `quadnet.NeuralNetworkClassifier`, which checks them."""
    test: TestPart = TestPart()
    gate: Gate

    def sha256(self) -> str:
        """Return the digest of the resolved configuration, defaults included."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True, allow_nan=False)
        return hashlib.sha256(content.encode()).hexdigest()


def load(path: Path, changes: Sequence[str] = ()) -> RunConfig:
    """Read a run file, apply changes such as ``data.points=1000``, and validate the result.

    Raises
    ------
    InvalidSetting
        If the file cannot be read or parsed, or a key or a value is wrong.
    """
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidSetting(f"The run file {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:  # no UTF-8, or no TOML
        raise InvalidSetting(f"The run file {path} is not valid TOML: {error}.") from error
    for change in changes:
        _apply(tree, change)
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as error:
        raise InvalidSetting(f"{path.name}: {_sentence(error)}") from error


def _apply(tree: dict[str, Any], change: str) -> None:
    """Set one dotted key to a TOML value; bare words are strings."""
    key, _, text = change.partition("=")
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        parsed = {"value": text}
    *sections, last = key.strip().split(".")
    if not last or parsed.keys() != {"value"}:
        raise InvalidSetting(f"--set {change!r}: expected one KEY=VALUE, as in data.points=1000.")
    value = parsed["value"]
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise InvalidSetting(f"--set {change}: {section} is a value, not a section.")
    tree[last] = value


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    # The kind of data stands in the location, behind its section, and is no key of it.
    where = ".".join(str(part) for part in first["loc"] if part not in _KINDS)
    if first["type"] == "union_tag_not_found":
        return f"the key {where}.kind is missing. The kinds are: {', '.join(_KINDS)}."
    if first["type"] == "union_tag_invalid":
        got = first["input"].get("kind")
        return f"{where}.kind: expected one of {', '.join(_KINDS)}, got {got!r}."
    if first["type"] == "extra_forbidden":
        return f"there is no key {where}. The keys there are: {', '.join(_known(first['loc']))}."
    if first["type"] == "missing":
        return f"the key {where} is missing."
    if first["type"] in {"model_type", "model_attributes_type"}:
        return f"{where}: expected a section, got {first['input']!r}."
    message = first["msg"]
    return f"{where}: {message[0].lower()}{message[1:]}, got {first['input']!r}."


def _known(location: tuple[int | str, ...]) -> list[str]:
    """Return the keys of the section that holds this location."""
    section: type[BaseModel] = RunConfig
    for name in location[:-1]:
        annotation = section.model_fields[str(name)].annotation
        if name == "data":
            section = _KINDS[str(location[1])]
            break
        assert isinstance(annotation, type)
        assert issubclass(annotation, BaseModel)
        section = annotation
    return list(section.model_fields)


_KINDS: dict[str, type[BaseModel]] = {"quadrants": QuadrantsData, "digits": DigitsData}
