"""The plan of a search: its candidates and rungs, known before the first fit."""

from dataclasses import dataclass

from pydantic import JsonValue

from pipeline.config.layer_stacks import DENSE_KEYS, check_searched_layers
from pipeline.config.run_config import RunConfig
from pipeline.config.search import Search
from pipeline.search.halving import Rung, make_rungs
from pipeline.search.scores import check_scorer_name
from pipeline.search.space import check_space, draw_candidates
from pipeline.training.candidate_training import resolve_config
from quadnet.errors import ConfigurationError

_EXAMPLE = """

[search]
method = "random"                                    # or "grid", or "halving"
candidates = 30

[search.space]
hidden_layer_sizes = [[6], [12], [6, 6]]             # a list of values
alpha = { low = 1e-6, high = 1e-2, log = true }      # or a range"""


@dataclass(frozen=True)
class SearchPlan:
    """The candidates of a search and its rungs; `config` is the resolved configuration."""

    config: RunConfig
    search: Search
    candidates: list[dict[str, JsonValue]]
    rungs: list[Rung]

    @property
    def n_fits(self) -> int:
        """The number of fits if no candidate fails."""
        return sum(rung.candidates for rung in self.rungs) * self.search.folds

    def epochs(self, parameters: dict[str, JsonValue], rung: Rung) -> int:
        """Return the largest number of epochs for this candidate on this rung."""
        own = parameters.get("max_iter", self.config.network["max_iter"])
        return int(str(own)) if rung.epochs is None else rung.epochs

    def summary(self) -> str:
        """Return the number of candidates, folds and fits, in words."""
        first, *further = self.rungs
        epochs = "" if first.epochs is None else f" for {first.epochs} epochs"
        steps = [f"{len(self.candidates):,} candidates{epochs}"]
        steps += [f"the best {rung.candidates:,} for {rung.epochs}" for rung in further]
        return f"{', '.join(steps)}; {self.search.folds} folds, so {self.n_fits:,} fits."

    def apply_parameters(self, parameters: dict[str, JsonValue]) -> RunConfig:
        """Return the run's configuration with these parameters."""
        tree = self.config.model_dump()
        network = {name: value for name, value in parameters.items() if name != "scale"}
        if "layers" in network:
            for key in DENSE_KEYS:
                tree["network"].pop(key, None)
        tree["network"] |= network
        tree["scale"] = parameters.get("scale", self.config.scale)
        return RunConfig.model_validate(tree)


def make_plan(config: RunConfig) -> SearchPlan:
    """Return the plan of the run's search.

    Raises
    ------
    ConfigurationError
        If the run has no section [search], or the section is wrong.
    """
    search = config.search
    if search is None:
        raise ConfigurationError(
            f"The run {config.name!r} has no section [search]. Add one, such as:{_EXAMPLE}"
        )
    try:
        check_searched_layers(config.network, search.space)
    except ValueError as error:
        raise ConfigurationError(f"{error}.") from error
    check_scorer_name(search.metric)
    config = resolve_config(config)
    check_space(config, search)
    candidates = draw_candidates(search)
    rungs = make_rungs(search, len(candidates), int(str(config.network["max_iter"])))
    return SearchPlan(config, search, candidates, rungs)
