"""A fitted estimator as what a version holds: an encoder, a network, and the names of classes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.exceptions import NotFittedError
from sklearn.model_selection._search import BaseSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from pipeline.adoption.column_formulas import CategoryMap, Formula, RawFormula, Scaling
from pipeline.adoption.encoder_building import build_inputs
from pipeline.adoption.networks import (
    adopt_mlp_classifier,
    adopt_mlp_regressor,
    fold_affine_inputs,
    order_classes,
)
from pipeline.adoption.transformers import TRANSFORMERS, apply_step, make_raw_formulas
from quadnet import NeuralNetworkClassifier, NeuralNetworkRegressor
from quadnet.errors import Unsupported, shorten
from quadnet.estimator.columns.encoding import find_encoder
from quadnet.estimator.columns.scaling import find_scaler
from quadnet.nn.layers.affine_folding import find_coarse_features, fold_scaler
from quadnet.nn.network import Network
from quadnet.nn.predictor import AnyPredictor, Predictor, RegressionPredictor
from quadnet.tables.column_encoders import (
    CategoryEncoder,
    ColumnEncoder,
    DateEncoder,
    NumberEncoder,
)
from quadnet.tables.encoder import TableEncoder
from quadnet.types import Task

NETWORKS = (NeuralNetworkClassifier, NeuralNetworkRegressor, MLPClassifier, MLPRegressor)
"""The estimators that a version can be made of, alone or at the end of a pipeline."""


@dataclass(frozen=True)
class AdoptedModel:
    """A fitted estimator in the form of a version.

    Parameters
    ----------
    task : Task
    predictor : Predictor or RegressionPredictor
        Its classes are texts, sorted. With an encoder it takes the encoder's outputs.
    encoder : TableEncoder or None
        None for a network that takes columns of numbers without names.
    columns : tuple of str
        The caller's columns: names, or x0, x1 and so on.
    has_names : bool
        Whether the estimator was fitted to columns with names.
    network : estimator
        The fitted network, which may be the last step of the estimator.
    """

    task: Task
    predictor: AnyPredictor
    encoder: TableEncoder | None
    columns: tuple[str, ...]
    has_names: bool
    network: Any


def adopt_model(estimator: Any) -> AdoptedModel:
    """Return a fitted estimator in the form of a version, which predicts the same.

    Parameters
    ----------
    estimator : estimator
        A NeuralNetworkClassifier, NeuralNetworkRegressor, MLPClassifier or MLPRegressor, or a
        Pipeline that ends with one. `TRANSFORMERS` lists the steps that there may be before it.

    Raises
    ------
    Unsupported
        If a step, or the network, cannot be represented exactly. The message names it.
    """
    try:
        return _adopt(estimator)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # Of attributes that fit has not set, such as those of a damaged or hostile file.
        reason = " ".join(str(error).split())[:300]
        raise Unsupported(
            f"The {type(estimator).__name__} cannot become a version: what was fitted does not fit "
            f"together ({type(error).__name__}: {reason}). Fit it again."
        ) from error


def _adopt(estimator: Any) -> AdoptedModel:
    """Return the estimator in the form of a version."""
    steps, step = _split(estimator)
    _check_fitted(step)
    names, n_columns = _find_columns(steps, step)
    columns = tuple(names or (f"x{i}" for i in range(n_columns)))
    found = _adopt_network(step)
    encoder = find_encoder(step)
    if encoder is not None:
        encoder = _refuse_what_the_network_refuses(encoder, step)
    if not steps and encoder is not None:
        encoder = _move_scaler(encoder, step)
    else:
        formulas: list[Formula] = make_raw_formulas(n_columns)
        for name, each in steps:
            formulas = apply_step(each, formulas, name)
        if len(formulas) != step.n_features_in_:
            raise Unsupported(
                f"The {type(step).__name__} was fitted to {step.n_features_in_} columns, but the "
                f"steps before it make {len(formulas)}. Fit the whole pipeline again."
            )
        if encoder is not None:
            formulas = _apply_encoder(encoder, formulas)
        if names is None and _are_unscaled(formulas, n_columns):
            # Also of pictures, whose scaler the estimator can fold.
            network = found.network
            if find_scaler(step) is not None:
                network = step._network_of_raw_columns()  # noqa: SLF001
        else:
            inputs = build_inputs(_apply_scaler(step, formulas), columns, keep_unused=names is None)
            network, encoder = found.network, inputs.encoder
            if not inputs.is_identity:
                network = fold_affine_inputs(network, inputs.M, inputs.shift)
            if names is None and (folded := _fold_encoder(encoder, network)) is not None:
                network, encoder = folded, None
        found = replace(found, network=network)
    return AdoptedModel(
        found.task, _make_predictor(found), encoder, columns, names is not None, step
    )


@dataclass(frozen=True)
class _AdoptedNetwork:
    """A network, its task, and its classes as the estimator has them; None for numbers."""

    task: Task
    network: Network
    classes: Any = None


def _make_predictor(found: _AdoptedNetwork) -> AnyPredictor:
    if not np.isfinite(found.network.parameters.flat).all():
        raise Unsupported(
            "The network has weights that are NaN or infinite: its training has diverged, or its "
            "inputs were too large. Scale the inputs, or set a smaller learning_rate_init, and fit "
            "it again."
        )
    if found.task == "regression":
        return RegressionPredictor(found.network, None)
    if found.task == "multilabel":
        return Predictor(found.network, [str(each) for each in found.classes.tolist()])
    network, texts = order_classes(found.network, found.classes)
    return Predictor(network, texts)


def _split(estimator: Any) -> tuple[list[tuple[str, Any]], Any]:
    """Return the steps before the network, and the network.

    Raises
    ------
    Unsupported
        If it is no estimator that a version can be made of.
    """
    if isinstance(estimator, type):
        raise Unsupported(
            f"Expected a fitted estimator, got the class {estimator.__name__}. Create an object of "
            "it, and fit it."
        )
    if hasattr(estimator, "best_estimator_") or isinstance(estimator, BaseSearchCV):
        kind = type(estimator).__name__
        raise Unsupported(
            f"Expected the model that is published, got a {kind}, which is the search for it. "
            "Publish its attribute best_estimator_, which a search with refit=True has after fit."
        )
    if type(estimator) is Pipeline:
        *before, (_, last) = estimator.steps
        inner, network = _split(last)
        return [*before, *inner], network
    if not isinstance(estimator, NETWORKS):
        known = ", ".join(kind.__name__ for kind in NETWORKS)
        raise Unsupported(
            f"An estimator of the class {type(estimator).__name__} cannot become a version. "
            f"Expected a {known}, or a Pipeline that ends with one of them."
        )
    return [], estimator


def _check_fitted(network: Any) -> None:
    try:
        check_is_fitted(network)
    except NotFittedError:
        raise Unsupported(
            f"Expected a fitted model, but the {type(network).__name__} was not fitted. Call fit "
            "first."
        ) from None


def _find_columns(steps: Sequence[tuple[str, Any]], network: Any) -> tuple[list[str] | None, int]:
    """Return the names of the caller's columns, if they have any, and their number."""
    for step in [*(step for _, step in steps), network]:
        if step is None or isinstance(step, str):
            continue
        if type(step) is Pipeline:
            found = _find_columns(step.steps, network)
        elif type(step) in TRANSFORMERS or step is network:
            names = getattr(step, "feature_names_in_", None)
            listed = None if names is None else [str(name) for name in names]
            found = listed, int(getattr(step, "n_features_in_", -1))
        else:
            apply_step(step, [], _name_of(steps, step))  # raises the error that names it
        if found[1] >= 0:  # a FunctionTransformer without validation does not know its columns
            return found
    raise Unsupported("The pipeline does not know its columns: fit it to rows first.")


def _name_of(steps: Sequence[tuple[str, Any]], step: Any) -> str:
    return next(name for name, each in steps if each is step)


def _adopt_network(estimator: Any) -> _AdoptedNetwork:
    """Return the estimator's network, for scaled inputs."""
    if isinstance(estimator, MLPClassifier):
        network, multilabel = adopt_mlp_classifier(estimator)
        task: Task = "multilabel" if multilabel else "classification"
        return _AdoptedNetwork(task, network, estimator.classes_)
    if isinstance(estimator, MLPRegressor):
        return _AdoptedNetwork("regression", adopt_mlp_regressor(estimator))
    network = estimator._current_network()  # noqa: SLF001 - freeze() refuses an encoder
    if isinstance(estimator, NeuralNetworkRegressor):
        n_columns = estimator._numbers.n_columns  # noqa: SLF001
        if n_columns is not None:
            raise Unsupported(
                f"The {type(estimator).__name__} predicts {n_columns} columns of numbers, and a "
                "version predicts one number. Fit it to y of shape (n_rows,)."
            )
        return _AdoptedNetwork("regression", network)
    task = "multilabel" if network.loss.multilabel else "classification"
    return _AdoptedNetwork(task, network, estimator.classes_)


def _refuse_what_the_network_refuses(encoder: TableEncoder, estimator: Any) -> TableEncoder:
    """Return the encoder of an estimator, which refuses gaps where the estimator does."""
    if estimator.missing != "error":
        return encoder
    columns: Any = encoder.columns
    return TableEncoder(tuple(replace(each, gaps="refused") for each in columns))


def _move_scaler(encoder: TableEncoder, estimator: Any) -> TableEncoder:
    """Return the encoder with the estimator's scaler of numbers in it.

    There it is subtracted from the numbers, and time stamps keep their digits.
    """
    scaler = find_scaler(estimator)
    if scaler is None:
        return encoder
    columns: list[ColumnEncoder] = []
    for column in encoder.columns:
        place = encoder.output_groups[column.name].start
        if isinstance(column, NumberEncoder):
            centre, scale = float(scaler.means[place]), float(scaler.deviations[place])
            columns.append(replace(column, centre=centre, scale=scale))
        else:
            columns.append(column)
    return TableEncoder(tuple(columns))


def _apply_scaler(estimator: Any, formulas: list[Formula]) -> list[Formula]:
    """Return the network's inputs as the estimator's own scaler makes them."""
    scaler = find_scaler(estimator)
    if scaler is None:
        return formulas
    pairs = zip(scaler.means.tolist(), scaler.deviations.tolist(), formulas, strict=True)
    return [each.scale(Scaling(mean, deviation)) for mean, deviation, each in pairs]


def _apply_encoder(encoder: TableEncoder, formulas: Sequence[Formula]) -> list[Formula]:
    """Return the outputs of an estimator's encoder, whose inputs the steps before it make."""
    made: list[Formula] = []
    for column, formula in zip(encoder.columns, formulas, strict=True):
        if isinstance(column, NumberEncoder):
            refused = column.gaps == "refused"
            filled = formula if refused else formula.fill(column.fill)
            made.append(filled.scale(Scaling(column.centre, column.scale)))
        elif isinstance(column, CategoryEncoder):
            made += [formula.look_up(each) for each in _list_maps(column)]
        else:
            assert isinstance(column, DateEncoder)
            raise Unsupported(
                f"The column {shorten(column.name)} has dates that come from a step of the "
                "pipeline, which cannot become part of a version. Publish the network alone."
            )
        if column.has_missing_output:
            made.extend([] if isinstance(column, CategoryEncoder) else [formula.flag_gaps()])
    return made


def _list_maps(column: CategoryEncoder) -> list[CategoryMap]:
    """Return what each output of an encoder of categories is."""
    known = {text: i for i, text in enumerate((*column.categories, *column.rare))}
    places, maps = column.places, []
    by_place: dict[int, dict[str, float]] = {}
    for text, place in places.items():
        by_place.setdefault(place, {})[text] = 1.0
    for i in range(len(column.output_names)):
        unknown = None if column.unknown == "refused" else float(column.unknown_place == i)
        gap = None if column.gaps == "refused" else float(column.gap_place == i)
        maps.append(CategoryMap(known, by_place.get(i, {}), 0.0, unknown, gap))
    return maps


def _are_unscaled(formulas: Sequence[Formula], n_columns: int) -> bool:
    """Whether the network takes the caller's columns as they are, or with its own scaler."""
    return len(formulas) == n_columns and all(
        isinstance(each, RawFormula) and each.has_gaps and each.source == i
        for i, each in enumerate(formulas)
    )


def _fold_encoder(encoder: TableEncoder, network: Network) -> Network | None:
    """Return the network for columns of numbers that an encoder only scales; None for others."""
    numbers = [each for each in encoder.columns if isinstance(each, NumberEncoder)]
    if len(numbers) < len(encoder.columns) or any(each.gaps != "refused" for each in numbers):
        return None
    means = np.array([each.centre for each in numbers])
    scales = np.array([each.scale for each in numbers])
    if not means.any() and (scales == 1.0).all():
        return network
    dtype = network.parameters.flat.dtype
    coarse = find_coarse_features(means, scales, dtype).any()
    try:
        return fold_scaler(network, means, scales, dtype=np.float64 if coarse else dtype)
    except ValueError:  # different means within the channel of a picture
        return None
