"""The attributes that a fit gives an estimator, and their form in a pickle or a skops file.

The stored form holds arrays, numbers and names, and no class of Quadnet but the estimator, by its
public path, so that it loads after a module has moved or been renamed. tests/golden holds files
that must load for ever.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from quadnet.estimator.fitting.fit_loop import TrainingRun
from quadnet.estimator.fitting.history import History
from quadnet.estimator.targets.encoding import TargetEncoding
from quadnet.estimator.targets.labels import Labels
from quadnet.estimator.targets.numbers import Numbers
from quadnet.nn.layers.kinds import layer_from_spec
from quadnet.nn.layers.layer import Layer
from quadnet.nn.layers.stack import find_blocks
from quadnet.nn.network import Network
from quadnet.nn.optimizers import optimizer_from_dict, optimizer_to_dict
from quadnet.tables.encoder import TableEncoder


def network_attributes(
    network: Network, encoding: TargetEncoding, encoder: TableEncoder | None
) -> dict[str, Any]:
    """Return the attributes that predicting needs."""
    return {
        "_network": network,
        "encoder_": encoder,
        "n_features_in_": network.n_features if encoder is None else len(encoder.columns),
        "n_layers_": 1 + len(find_blocks(network.layers)),
        "n_outputs_": network.n_outputs,
        "n_parameters_": network.parameters.n_trained,
        "out_activation_": network.loss.link_name,
        **encoding.fitted_attributes(),
        **array_attributes(network),
    }


ARRAY_ATTRIBUTES = ("coefs_", "intercepts_", "parameters_")

ENSEMBLE_ATTRIBUTES = ("estimators_",)


def array_attributes(network: Network) -> dict[str, Any]:
    """Return the attributes that show the network's arrays.

    They are scikit-learn's `coefs_` and `intercepts_` where only dense layers have arrays, and
    otherwise `parameters_`.
    """
    if network.has_dense_arrays:
        return {"coefs_": network.parameters.weights, "intercepts_": network.parameters.biases}
    return {"parameters_": network.parameters.arrays}


def record_attributes(run: TrainingRun) -> dict[str, Any]:
    """Return the attributes that describe the training."""
    history = run.history
    by_score = history.early_stopping
    validated = by_score or bool(history.scores)
    return {
        "n_iter_": run.n_iter,
        "stop_reason_": run.stop_reason,
        "loss_": history.loss_curve[-1] if history.loss_curve else float("nan"),
        "loss_curve_": history.loss_curve,
        "learning_rate_curve_": history.learning_rates,
        "validation_loss_curve_": history.validation_losses if validated else None,
        "validation_scores_": history.scores if validated else None,
        "best_loss_": None if by_score else history.best_loss,
        "best_validation_score_": history.best_score if by_score else None,
        "best_iteration_": history.best_iteration,
        "n_updates_": history.updates,
        "replay_": asdict(run.update_counts),
        "t_": history.rows_seen,
        "column_means_": None,
        "column_deviations_": None,
        **(run.rows.scaler.fitted_attributes() if run.rows.scaler else {}),
        "_no_improvement_count": history.epochs_without_improvement,
    }


RESUME_ATTRIBUTES = ("_history", "_optimizer", "_random_state", "_penalty_buffers")


def resume_attributes(run: TrainingRun) -> dict[str, Any]:
    """Return the attributes with which a later fit continues."""
    return {
        "_history": run.history,
        "_optimizer": run.optimizer,
        "_random_state": run.rng,
        # As long as the parameters: kept only for the next mini-batch.
        "_penalty_buffers": run.penalty_buffers if run.stop_reason == "partial_fit" else None,
    }


def pack_state(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of an estimator without objects of ours."""
    state = dict(attributes)
    state.pop("_penalty_buffers", None)
    if isinstance(state.get("layers"), (list, tuple)):
        packed = (each.to_spec() if _is_ours(each) else each for each in state["layers"])
        state["layers"] = type(state["layers"])(packed)
    if state.get("_network") is not None:
        state["_network"] = state["_network"].__getstate__()
        if "_numbers" in state:
            state["_numbers"] = state["_numbers"].to_dict()
        else:
            state["_labels"] = {"multilabel": state["_labels"].multilabel}
        # They hold the network's own arrays.
        for name in ARRAY_ATTRIBUTES:
            state.pop(name, None)
    if state.get("encoder_") is not None:
        state["encoder_"] = state["encoder_"].to_specs()
    if state.get("_history") is not None:
        state["_history"] = state["_history"].to_dict()
    if state.get("_optimizer") is not None:
        state["_optimizer"] = optimizer_to_dict(state["_optimizer"])
    return state


def unpack_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that `pack_state` was called on.

    Arrays are copied: joblib may pass read-only memory maps, and a shallow copy of an estimator
    must not train the network of the original.
    """
    # Releases before 0.3 had no layers but dense ones, and no parameters that help with data.
    newer: dict[str, Any] = {
        "layers": None,
        "input_shape": None,
        "scale": False,
        "label_smoothing": 0.0,
        "n_ensemble": 1,
        "categorical_features": None,
        "missing": "error",
    }
    attributes = newer | dict(state)
    if attributes.get("encoder_") is not None:
        attributes["encoder_"] = TableEncoder.from_specs(attributes["encoder_"], name="encoder_")
    if isinstance(attributes["layers"], (list, tuple)):
        made = (layer_from_spec(x) if isinstance(x, Mapping) else x for x in attributes["layers"])
        attributes["layers"] = type(attributes["layers"])(made)
    if attributes.get("_network") is not None:
        network = Network.__new__(Network)
        network.__setstate__(dict(attributes["_network"]))
        attributes["_network"] = network
        if "_numbers" in attributes:
            attributes["_numbers"] = Numbers.from_dict(attributes["_numbers"])
        else:
            attributes["_labels"] = Labels(attributes["classes_"], **attributes["_labels"])
        attributes |= array_attributes(network)
    if attributes.get("_history") is not None:
        attributes["_history"] = History.from_dict(attributes["_history"])
    if attributes.get("_optimizer") is not None:
        attributes["_optimizer"] = optimizer_from_dict(attributes["_optimizer"])
    return attributes


def _is_ours(layer: Any) -> bool:
    """Whether this is a layer of Quadnet, and so are those inside it.

    A pickle holds other layers as objects, because loading them imports the module that adds their
    kind.
    """
    if not isinstance(layer, Layer) or type(layer).__module__ != "quadnet.layers":
        return False
    return all(map(_is_ours, getattr(layer, "layers", ())))
