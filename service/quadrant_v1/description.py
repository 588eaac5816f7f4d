"""A version, and one input's way through it, as messages of `quadrant.v1`."""

from collections.abc import Iterator, Sequence

import numpy as np

from quadnet.nn.layer_trace import LayerTrace, trace
from quadnet.nn.network import Network
from quadnet.registry.version_files import Model
from quadnet.types import FloatArray
from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from service.wire import packed_arrays

_WEIGHTS = pb.Layer.WEIGHTS_FIELD_NUMBER
_TERMS = pb.UnitTrace.TERMS_FIELD_NUMBER


def size_of_description(network: Network) -> int:
    """Return how many bytes the network's numbers take in a GetModelResponse."""
    return 8 * sum(W.size + b.size for W, b in _layers(network))


def size_of_explanation(network: Network) -> int:
    """Return how many bytes the numbers of one input's way take in an ExplainResponse."""
    # Of each unit the bias, the pre-activation and the activation, each after a tag.
    return sum(8 * W.size + 3 * 9 * b.size for W, b in _layers(network))


def _layers(network: Network) -> Iterator[tuple[FloatArray, FloatArray]]:
    parameters = network.parameters
    return zip(parameters.weights, parameters.biases, strict=True)


def describe(model: Model, aliases: Sequence[str]) -> pb.GetModelResponse:
    """Return the version, whole."""
    manifest, network = model.manifest, model.predictor.network
    described = pb.GetModelResponse(
        model=name(model),
        aliases=aliases,
        features=[
            pb.Feature(name=f.name, min=f.min, max=f.max) for f in manifest.signature.features
        ],
        classes=manifest.signature.classes,
        layers=network_layers(network),
        metrics={
            "accuracy": manifest.metrics["test"].accuracy,
            "log_loss": manifest.metrics["test"].log_loss,
            "calibration_error": manifest.metrics["test"].calibration_error,
        },
        training=pb.TrainingSummary(
            epochs=manifest.training.epochs,
            loss=manifest.training.loss,
            rows=manifest.data.train.rows,
            seconds=manifest.training.seconds,
        ),
    )
    described.created.FromDatetime(manifest.created)
    return described


def explain(model: Model, x: FloatArray) -> pb.ExplainResponse:
    """Return the way of x, of shape (1, n_features), through the version."""
    classes = model.manifest.signature.classes
    layers = list(trace(model.predictor.network, x[0]))
    P = model.predictor.probabilities(x)[0]
    known = bool(np.isfinite(P).all())
    return pb.ExplainResponse(
        model=name(model),
        layers=[layer_trace(each) for each in layers],
        classes=classes,
        probabilities=(P if known else np.full(len(P), 1 / len(P))).tolist(),
        label=classes[int(P.argmax())] if known else "",
    )


def name(model: Model) -> pb.ModelVersion:
    """Return which version it is."""
    manifest = model.manifest
    return pb.ModelVersion(name=manifest.model, version=manifest.version, digest=model.digest)


def network_layers(network: Network) -> list[pb.Layer]:
    """Return every layer of a network, from the first hidden one to the output."""
    names = (*network.activation_names, network.loss.link_name)
    return [_layer(name, W, b) for name, (W, b) in zip(names, _layers(network), strict=True)]


def _layer(activation: str, W: FloatArray, b: FloatArray) -> pb.Layer:
    inputs, units = W.shape
    described = pb.Layer(activation=activation, inputs=inputs, units=units, biases=b.tolist())
    described.MergeFromString(packed_arrays.doubles(_WEIGHTS, W))
    return described


def layer_trace(traced: LayerTrace) -> pb.LayerTrace:
    """Return what one layer did, unit by unit."""
    described = pb.LayerTrace(activation=traced.activation)
    for terms, bias, z, a in zip(
        traced.terms.T,
        traced.biases.tolist(),
        traced.pre_activations.tolist(),
        traced.activations.tolist(),
        strict=True,
    ):
        unit = described.units.add(bias=bias, pre_activation=z, activation=a)
        unit.MergeFromString(packed_arrays.doubles(_TERMS, terms))
    return described
