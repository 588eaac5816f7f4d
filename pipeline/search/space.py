"""The space of a search: check each parameter's values or range, and draw the candidates."""

import math
from collections.abc import Mapping
from typing import Any

from numpy.random import RandomState
from pydantic import JsonValue
from scipy.stats import loguniform, randint, uniform
from sklearn.model_selection import ParameterGrid, ParameterSampler

from pipeline.config.layer_stacks import describe_layers
from pipeline.config.run_config import RunConfig
from pipeline.config.search import Range, Search
from pipeline.training.candidate_training import ESTIMATORS, network_constraints
from quadnet.errors import ConfigurationError
from quadnet.estimator import constraints
from quadnet.name_display import suggest_name

_LARGEST_GRID = 100_000
_MOST_WHOLE = 2**63 - 1


def check_space(config: RunConfig, search: Search) -> None:
    """Check that every value of the space is valid for its parameter.

    Invalid combinations of valid values, such as dropout with L-BFGS, fail only in the fit.

    Parameters
    ----------
    config : RunConfig
        The resolved configuration.
    search : Search

    Raises
    ------
    ConfigurationError
        If a name, a value or a range of the space is invalid.
    """
    known = {"scale": constraints.boolean(), **network_constraints(config.task)}
    owner = ESTIMATORS[config.task].__name__
    unknown = sorted(search.space.keys() - known.keys())
    if unknown:
        raise ConfigurationError(
            f"There is no key search.space.{unknown[0]}.{suggest_name(unknown[0], known)} "
            f"The keys there are: {', '.join(known)}."
        )
    for name, choices in search.space.items():
        if isinstance(choices, Range):
            _check_range(name, choices, search)
        for value in _bounds(choices) if isinstance(choices, Range) else choices:
            try:
                constraints.check_parameters(owner, {name: known[name]}, {name: value})
            except ValueError as error:
                raise ConfigurationError(f"search.space.{name}: {error}") from error
    if search.method == "halving" and "max_iter" in search.space:
        raise ConfigurationError(
            "search.space.max_iter: halving itself sets the epochs of a candidate, from "
            "search.min_epochs up to network.max_iter. Remove it, or choose another method."
        )
    if search.method == "grid" and _combinations(search) > _LARGEST_GRID:
        raise ConfigurationError(
            f"search.space: expected a grid of at most {_LARGEST_GRID:,} combinations, got "
            f"{_combinations(search):,}. Shorten its lists, or set search.method = 'random'."
        )


def make_choices(search: Search) -> dict[str, Any]:
    """Return each parameter's list or distribution, by its name in scikit-learn's search."""
    return {
        to_nested_name(name): _distribution(values) if isinstance(values, Range) else values
        for name, values in search.space.items()
    }


def count_draws(search: Search) -> int:
    """Return how many candidates a random or halving search draws."""
    if any(isinstance(values, Range) for values in search.space.values()):
        return search.candidates
    return min(search.candidates, _combinations(search))


def draw_candidates(search: Search) -> list[dict[str, JsonValue]]:
    """Return the candidates in scikit-learn's order, without duplicates, equal in every process."""
    if search.method == "grid":
        drawn = ParameterGrid(make_choices(search))
    else:
        drawn = ParameterSampler(
            make_choices(search), count_draws(search), random_state=search.seed
        )
    each = [
        {to_plain_name(name): to_json_value(value) for name, value in one.items()} for one in drawn
    ]
    return list({repr(sorted(one.items())): one for one in each}.values())


def to_nested_name(name: str) -> str:
    """Return the parameter's name in scikit-learn's search, where the network is nested."""
    return name if name == "scale" else f"network__{name}"


def to_plain_name(name: str) -> str:
    """Return the parameter's own name."""
    return name.removeprefix("network__")


def to_json_value(value: Any) -> JsonValue:
    """Return a drawn value for JSON: NumPy's numbers become Python's."""
    number: JsonValue = value.item() if hasattr(value, "item") else value
    return number


def format_parameters(parameters: Mapping[str, JsonValue]) -> str:
    """Return the parameters in one line."""
    return ", ".join(f"{name}={_format(name, value)}" for name, value in sorted(parameters.items()))


def _format(name: str, value: JsonValue) -> str:
    if name == "layers":
        return f"[{', '.join(describe_layers(value))}]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _combinations(search: Search) -> int:
    return math.prod(
        len(values) for values in search.space.values() if not isinstance(values, Range)
    )


def _check_range(name: str, numbers: Range, search: Search) -> None:
    where = f"search.space.{name}"
    if search.method == "grid":
        raise ConfigurationError(
            f"{where}: expected a list of values, because the method is grid, got a range. Set "
            "search.method to 'random' or 'halving', or list the values."
        )
    if numbers.low >= numbers.high:
        raise ConfigurationError(
            f"{where}: expected low below high, got low = {numbers.low}, high = {numbers.high}."
        )
    if _whole(numbers) and max(abs(numbers.low), abs(numbers.high)) >= _MOST_WHOLE:
        raise ConfigurationError(
            f"{where}: expected whole numbers below 2**63, got low = {numbers.low}, "
            f"high = {numbers.high}."
        )
    if numbers.log and numbers.low <= 0:
        raise ConfigurationError(
            f"{where}: expected low above 0, because log is true, got {numbers.low}."
        )


def _whole(numbers: Range) -> bool:
    return isinstance(numbers.low, int) and isinstance(numbers.high, int)


def _bounds(numbers: Range) -> tuple[float, float]:
    low, high = numbers.low, numbers.high
    return (low, high) if _whole(numbers) else (float(low), float(high))


def _distribution(numbers: Range) -> Any:
    low, high = _bounds(numbers)
    if _whole(numbers):
        return _LogIntegers(int(low), int(high)) if numbers.log else randint(low, high + 1)
    return loguniform(low, high) if numbers.log else uniform(low, high - low)


class _LogIntegers:
    """Integers, uniform on a logarithmic scale; SciPy has no such distribution."""

    def __init__(self, low: int, high: int) -> None:
        self._high, self._numbers = high, loguniform(low, high + 1)

    def rvs(self, random_state: RandomState) -> int:
        """Draw one number; the method that scikit-learn calls."""
        return min(int(self._numbers.rvs(random_state=random_state)), self._high)
