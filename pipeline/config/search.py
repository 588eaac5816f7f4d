"""The section `search` of a run: the parameters to try, and how."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, JsonValue, Tag

from pipeline.config.section import Section, Seed


class Range(Section):
    """Numbers from low to high; integers if both bounds are integers."""

    low: float | int
    high: float | int
    log: bool = False
    """Whether numbers are drawn uniformly on a logarithmic scale."""


def _list_or_range(value: Any) -> str:
    return "range" if isinstance(value, dict | Range) else "list"


Choices = Annotated[
    Annotated[list[JsonValue], Field(min_length=1), Tag("list")] | Annotated[Range, Tag("range")],
    Discriminator(_list_or_range),
]


class Search(Section):
    """The parameters of the network to search, and the search method."""

    method: Literal["grid", "random", "halving"] = "grid"
    """grid: every combination of the lists. random: combinations drawn at random. halving:
    combinations drawn at random, of which only the best are trained for more epochs."""
    space: Annotated[dict[str, Choices], Field(min_length=1)]
    candidates: Annotated[int, Field(ge=1, le=100_000)] = 20
    """Number of combinations to draw; a grid ignores it."""
    folds: Annotated[int, Field(ge=2, le=100)] = 3
    metric: Annotated[str, Field(min_length=1)] = "accuracy"
    """`accuracy`, `log_loss`, or the name of a scikit-learn scorer. Unset, it is
    `neg_root_mean_squared_error` for numbers."""
    factor: Annotated[int, Field(ge=2, le=100)] = 3
    """Halving: one in `factor` candidates is kept and trained for `factor` times as many epochs."""
    min_epochs: Annotated[int, Field(ge=1)] = 5
    """Halving: number of epochs in the first step."""
    seed: Seed = 0
