import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Quadrant(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    QUADRANT_UNSPECIFIED: _ClassVar[Quadrant]
    QUADRANT_I: _ClassVar[Quadrant]
    QUADRANT_II: _ClassVar[Quadrant]
    QUADRANT_III: _ClassVar[Quadrant]
    QUADRANT_IV: _ClassVar[Quadrant]

class StopReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STOP_REASON_UNSPECIFIED: _ClassVar[StopReason]
    STOP_REASON_MAX_EPOCHS: _ClassVar[StopReason]
    STOP_REASON_ACCURACY: _ClassVar[StopReason]
    STOP_REASON_TIME_LIMIT: _ClassVar[StopReason]
    STOP_REASON_DIVERGED: _ClassVar[StopReason]
QUADRANT_UNSPECIFIED: Quadrant
QUADRANT_I: Quadrant
QUADRANT_II: Quadrant
QUADRANT_III: Quadrant
QUADRANT_IV: Quadrant
STOP_REASON_UNSPECIFIED: StopReason
STOP_REASON_MAX_EPOCHS: StopReason
STOP_REASON_ACCURACY: StopReason
STOP_REASON_TIME_LIMIT: StopReason
STOP_REASON_DIVERGED: StopReason

class ModelRef(_message.Message):
    __slots__ = ("name", "version", "alias")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    alias: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., alias: _Optional[str] = ...) -> None: ...

class ModelVersion(_message.Message):
    __slots__ = ("name", "version", "digest")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    digest: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., digest: _Optional[str] = ...) -> None: ...

class ClassifyRequest(_message.Message):
    __slots__ = ("model", "x", "y", "all_certainties", "min_certainty")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    ALL_CERTAINTIES_FIELD_NUMBER: _ClassVar[int]
    MIN_CERTAINTY_FIELD_NUMBER: _ClassVar[int]
    model: ModelRef
    x: _containers.RepeatedScalarFieldContainer[float]
    y: _containers.RepeatedScalarFieldContainer[float]
    all_certainties: bool
    min_certainty: float
    def __init__(self, model: _Optional[_Union[ModelRef, _Mapping]] = ..., x: _Optional[_Iterable[float]] = ..., y: _Optional[_Iterable[float]] = ..., all_certainties: bool = ..., min_certainty: _Optional[float] = ...) -> None: ...

class ClassifyResponse(_message.Message):
    __slots__ = ("model", "quadrants", "certainties", "all_certainties")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    QUADRANTS_FIELD_NUMBER: _ClassVar[int]
    CERTAINTIES_FIELD_NUMBER: _ClassVar[int]
    ALL_CERTAINTIES_FIELD_NUMBER: _ClassVar[int]
    model: ModelVersion
    quadrants: _containers.RepeatedScalarFieldContainer[Quadrant]
    certainties: _containers.RepeatedScalarFieldContainer[float]
    all_certainties: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, model: _Optional[_Union[ModelVersion, _Mapping]] = ..., quadrants: _Optional[_Iterable[_Union[Quadrant, str]]] = ..., certainties: _Optional[_Iterable[float]] = ..., all_certainties: _Optional[_Iterable[float]] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models", "failure")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[ModelSummary]
    failure: str
    def __init__(self, models: _Optional[_Iterable[_Union[ModelSummary, _Mapping]]] = ..., failure: _Optional[str] = ...) -> None: ...

class ModelSummary(_message.Message):
    __slots__ = ("name", "versions", "aliases", "failure")
    class AliasesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    name: str
    versions: _containers.RepeatedCompositeFieldContainer[VersionSummary]
    aliases: _containers.ScalarMap[str, int]
    failure: str
    def __init__(self, name: _Optional[str] = ..., versions: _Optional[_Iterable[_Union[VersionSummary, _Mapping]]] = ..., aliases: _Optional[_Mapping[str, int]] = ..., failure: _Optional[str] = ...) -> None: ...

class VersionSummary(_message.Message):
    __slots__ = ("version", "digest", "state", "reason", "created")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[VersionSummary.State]
        STATE_AVAILABLE: _ClassVar[VersionSummary.State]
        STATE_LOADED: _ClassVar[VersionSummary.State]
        STATE_FAILED: _ClassVar[VersionSummary.State]
    STATE_UNSPECIFIED: VersionSummary.State
    STATE_AVAILABLE: VersionSummary.State
    STATE_LOADED: VersionSummary.State
    STATE_FAILED: VersionSummary.State
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    version: int
    digest: str
    state: VersionSummary.State
    reason: str
    created: _timestamp_pb2.Timestamp
    def __init__(self, version: _Optional[int] = ..., digest: _Optional[str] = ..., state: _Optional[_Union[VersionSummary.State, str]] = ..., reason: _Optional[str] = ..., created: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: ModelRef
    def __init__(self, model: _Optional[_Union[ModelRef, _Mapping]] = ...) -> None: ...

class GetModelResponse(_message.Message):
    __slots__ = ("model", "created", "aliases", "features", "classes", "layers", "metrics", "training", "task", "columns", "target", "quantiles")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    TRAINING_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    QUANTILES_FIELD_NUMBER: _ClassVar[int]
    model: ModelVersion
    created: _timestamp_pb2.Timestamp
    aliases: _containers.RepeatedScalarFieldContainer[str]
    features: _containers.RepeatedCompositeFieldContainer[Feature]
    classes: _containers.RepeatedScalarFieldContainer[str]
    layers: _containers.RepeatedCompositeFieldContainer[Layer]
    metrics: _containers.ScalarMap[str, float]
    training: TrainingSummary
    task: str
    columns: _containers.RepeatedCompositeFieldContainer[Column]
    target: Feature
    quantiles: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, model: _Optional[_Union[ModelVersion, _Mapping]] = ..., created: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., aliases: _Optional[_Iterable[str]] = ..., features: _Optional[_Iterable[_Union[Feature, _Mapping]]] = ..., classes: _Optional[_Iterable[str]] = ..., layers: _Optional[_Iterable[_Union[Layer, _Mapping]]] = ..., metrics: _Optional[_Mapping[str, float]] = ..., training: _Optional[_Union[TrainingSummary, _Mapping]] = ..., task: _Optional[str] = ..., columns: _Optional[_Iterable[_Union[Column, _Mapping]]] = ..., target: _Optional[_Union[Feature, _Mapping]] = ..., quantiles: _Optional[_Iterable[float]] = ...) -> None: ...

class Column(_message.Message):
    __slots__ = ("name", "kind", "min", "max", "mean", "categories", "may_be_missing", "features")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    MIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    MAY_BE_MISSING_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: str
    min: float
    max: float
    mean: float
    categories: _containers.RepeatedScalarFieldContainer[str]
    may_be_missing: bool
    features: int
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[str] = ..., min: _Optional[float] = ..., max: _Optional[float] = ..., mean: _Optional[float] = ..., categories: _Optional[_Iterable[str]] = ..., may_be_missing: bool = ..., features: _Optional[int] = ...) -> None: ...

class Feature(_message.Message):
    __slots__ = ("name", "min", "max")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    name: str
    min: float
    max: float
    def __init__(self, name: _Optional[str] = ..., min: _Optional[float] = ..., max: _Optional[float] = ...) -> None: ...

class Layer(_message.Message):
    __slots__ = ("activation", "inputs", "units", "weights", "biases", "kind", "settings", "input_shape", "output_shape", "arrays")
    ACTIVATION_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    BIASES_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    INPUT_SHAPE_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_SHAPE_FIELD_NUMBER: _ClassVar[int]
    ARRAYS_FIELD_NUMBER: _ClassVar[int]
    activation: str
    inputs: int
    units: int
    weights: _containers.RepeatedScalarFieldContainer[float]
    biases: _containers.RepeatedScalarFieldContainer[float]
    kind: str
    settings: str
    input_shape: _containers.RepeatedScalarFieldContainer[int]
    output_shape: _containers.RepeatedScalarFieldContainer[int]
    arrays: _containers.RepeatedCompositeFieldContainer[LayerArray]
    def __init__(self, activation: _Optional[str] = ..., inputs: _Optional[int] = ..., units: _Optional[int] = ..., weights: _Optional[_Iterable[float]] = ..., biases: _Optional[_Iterable[float]] = ..., kind: _Optional[str] = ..., settings: _Optional[str] = ..., input_shape: _Optional[_Iterable[int]] = ..., output_shape: _Optional[_Iterable[int]] = ..., arrays: _Optional[_Iterable[_Union[LayerArray, _Mapping]]] = ...) -> None: ...

class LayerArray(_message.Message):
    __slots__ = ("name", "shape", "values")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    name: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, name: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ..., values: _Optional[_Iterable[float]] = ...) -> None: ...

class TrainingSummary(_message.Message):
    __slots__ = ("epochs", "loss", "rows", "seconds")
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    epochs: int
    loss: float
    rows: int
    seconds: float
    def __init__(self, epochs: _Optional[int] = ..., loss: _Optional[float] = ..., rows: _Optional[int] = ..., seconds: _Optional[float] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("model", "features", "columns")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    model: ModelRef
    features: _containers.RepeatedScalarFieldContainer[float]
    columns: _containers.RepeatedCompositeFieldContainer[ColumnValue]
    def __init__(self, model: _Optional[_Union[ModelRef, _Mapping]] = ..., features: _Optional[_Iterable[float]] = ..., columns: _Optional[_Iterable[_Union[ColumnValue, _Mapping]]] = ...) -> None: ...

class ColumnValue(_message.Message):
    __slots__ = ("name", "number", "text")
    NAME_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    name: str
    number: float
    text: str
    def __init__(self, name: _Optional[str] = ..., number: _Optional[float] = ..., text: _Optional[str] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("model", "layers", "classes", "probabilities", "label", "features", "value", "quantiles", "labels", "unknown_categories")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    QUANTILES_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    model: ModelVersion
    layers: _containers.RepeatedCompositeFieldContainer[LayerTrace]
    classes: _containers.RepeatedScalarFieldContainer[str]
    probabilities: _containers.RepeatedScalarFieldContainer[float]
    label: str
    features: _containers.RepeatedScalarFieldContainer[float]
    value: float
    quantiles: _containers.RepeatedScalarFieldContainer[float]
    labels: _containers.RepeatedScalarFieldContainer[str]
    unknown_categories: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, model: _Optional[_Union[ModelVersion, _Mapping]] = ..., layers: _Optional[_Iterable[_Union[LayerTrace, _Mapping]]] = ..., classes: _Optional[_Iterable[str]] = ..., probabilities: _Optional[_Iterable[float]] = ..., label: _Optional[str] = ..., features: _Optional[_Iterable[float]] = ..., value: _Optional[float] = ..., quantiles: _Optional[_Iterable[float]] = ..., labels: _Optional[_Iterable[str]] = ..., unknown_categories: _Optional[_Iterable[str]] = ...) -> None: ...

class LayerTrace(_message.Message):
    __slots__ = ("activation", "units", "kind", "shape", "pre_activations", "activations")
    ACTIVATION_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    PRE_ACTIVATIONS_FIELD_NUMBER: _ClassVar[int]
    ACTIVATIONS_FIELD_NUMBER: _ClassVar[int]
    activation: str
    units: _containers.RepeatedCompositeFieldContainer[UnitTrace]
    kind: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    pre_activations: _containers.RepeatedScalarFieldContainer[float]
    activations: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, activation: _Optional[str] = ..., units: _Optional[_Iterable[_Union[UnitTrace, _Mapping]]] = ..., kind: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ..., pre_activations: _Optional[_Iterable[float]] = ..., activations: _Optional[_Iterable[float]] = ...) -> None: ...

class UnitTrace(_message.Message):
    __slots__ = ("terms", "bias", "pre_activation", "activation")
    TERMS_FIELD_NUMBER: _ClassVar[int]
    BIAS_FIELD_NUMBER: _ClassVar[int]
    PRE_ACTIVATION_FIELD_NUMBER: _ClassVar[int]
    ACTIVATION_FIELD_NUMBER: _ClassVar[int]
    terms: _containers.RepeatedScalarFieldContainer[float]
    bias: float
    pre_activation: float
    activation: float
    def __init__(self, terms: _Optional[_Iterable[float]] = ..., bias: _Optional[float] = ..., pre_activation: _Optional[float] = ..., activation: _Optional[float] = ...) -> None: ...

class TrainRequest(_message.Message):
    __slots__ = ("x", "y", "quadrants", "hidden_layer_sizes", "activation", "loss", "solver", "init", "biases", "learning_rate", "batch_size", "alpha", "seed", "max_epochs", "map_side", "test_x", "test_y", "test_quadrants", "momentum", "dropout", "epochs_per_frame", "stop_accuracy", "state", "frames_per_second")
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    QUADRANTS_FIELD_NUMBER: _ClassVar[int]
    HIDDEN_LAYER_SIZES_FIELD_NUMBER: _ClassVar[int]
    ACTIVATION_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    SOLVER_FIELD_NUMBER: _ClassVar[int]
    INIT_FIELD_NUMBER: _ClassVar[int]
    BIASES_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    MAX_EPOCHS_FIELD_NUMBER: _ClassVar[int]
    MAP_SIDE_FIELD_NUMBER: _ClassVar[int]
    TEST_X_FIELD_NUMBER: _ClassVar[int]
    TEST_Y_FIELD_NUMBER: _ClassVar[int]
    TEST_QUADRANTS_FIELD_NUMBER: _ClassVar[int]
    MOMENTUM_FIELD_NUMBER: _ClassVar[int]
    DROPOUT_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_PER_FRAME_FIELD_NUMBER: _ClassVar[int]
    STOP_ACCURACY_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    FRAMES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    x: _containers.RepeatedScalarFieldContainer[float]
    y: _containers.RepeatedScalarFieldContainer[float]
    quadrants: _containers.RepeatedScalarFieldContainer[Quadrant]
    hidden_layer_sizes: _containers.RepeatedScalarFieldContainer[int]
    activation: str
    loss: str
    solver: str
    init: str
    biases: bool
    learning_rate: float
    batch_size: int
    alpha: float
    seed: int
    max_epochs: int
    map_side: int
    test_x: _containers.RepeatedScalarFieldContainer[float]
    test_y: _containers.RepeatedScalarFieldContainer[float]
    test_quadrants: _containers.RepeatedScalarFieldContainer[Quadrant]
    momentum: float
    dropout: float
    epochs_per_frame: int
    stop_accuracy: float
    state: SandboxState
    frames_per_second: float
    def __init__(self, x: _Optional[_Iterable[float]] = ..., y: _Optional[_Iterable[float]] = ..., quadrants: _Optional[_Iterable[_Union[Quadrant, str]]] = ..., hidden_layer_sizes: _Optional[_Iterable[int]] = ..., activation: _Optional[str] = ..., loss: _Optional[str] = ..., solver: _Optional[str] = ..., init: _Optional[str] = ..., biases: bool = ..., learning_rate: _Optional[float] = ..., batch_size: _Optional[int] = ..., alpha: _Optional[float] = ..., seed: _Optional[int] = ..., max_epochs: _Optional[int] = ..., map_side: _Optional[int] = ..., test_x: _Optional[_Iterable[float]] = ..., test_y: _Optional[_Iterable[float]] = ..., test_quadrants: _Optional[_Iterable[_Union[Quadrant, str]]] = ..., momentum: _Optional[float] = ..., dropout: _Optional[float] = ..., epochs_per_frame: _Optional[int] = ..., stop_accuracy: _Optional[float] = ..., state: _Optional[_Union[SandboxState, _Mapping]] = ..., frames_per_second: _Optional[float] = ...) -> None: ...

class SandboxState(_message.Message):
    __slots__ = ("epoch", "layers", "moments", "updates")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    MOMENTS_FIELD_NUMBER: _ClassVar[int]
    UPDATES_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    layers: _containers.RepeatedCompositeFieldContainer[Layer]
    moments: _containers.RepeatedScalarFieldContainer[float]
    updates: int
    def __init__(self, epoch: _Optional[int] = ..., layers: _Optional[_Iterable[_Union[Layer, _Mapping]]] = ..., moments: _Optional[_Iterable[float]] = ..., updates: _Optional[int] = ...) -> None: ...

class TrainUpdate(_message.Message):
    __slots__ = ("epoch", "loss", "accuracy", "state", "decision_map", "stop_reason", "test_loss", "test_accuracy", "test_answers", "stop_reason_code")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    DECISION_MAP_FIELD_NUMBER: _ClassVar[int]
    STOP_REASON_FIELD_NUMBER: _ClassVar[int]
    TEST_LOSS_FIELD_NUMBER: _ClassVar[int]
    TEST_ACCURACY_FIELD_NUMBER: _ClassVar[int]
    TEST_ANSWERS_FIELD_NUMBER: _ClassVar[int]
    STOP_REASON_CODE_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    loss: float
    accuracy: float
    state: SandboxState
    decision_map: bytes
    stop_reason: str
    test_loss: float
    test_accuracy: float
    test_answers: bytes
    stop_reason_code: StopReason
    def __init__(self, epoch: _Optional[int] = ..., loss: _Optional[float] = ..., accuracy: _Optional[float] = ..., state: _Optional[_Union[SandboxState, _Mapping]] = ..., decision_map: _Optional[bytes] = ..., stop_reason: _Optional[str] = ..., test_loss: _Optional[float] = ..., test_accuracy: _Optional[float] = ..., test_answers: _Optional[bytes] = ..., stop_reason_code: _Optional[_Union[StopReason, str]] = ...) -> None: ...

class InspectRequest(_message.Message):
    __slots__ = ("layers", "map_side", "x", "y", "features")
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    MAP_SIDE_FIELD_NUMBER: _ClassVar[int]
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    layers: _containers.RepeatedCompositeFieldContainer[Layer]
    map_side: int
    x: _containers.RepeatedScalarFieldContainer[float]
    y: _containers.RepeatedScalarFieldContainer[float]
    features: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, layers: _Optional[_Iterable[_Union[Layer, _Mapping]]] = ..., map_side: _Optional[int] = ..., x: _Optional[_Iterable[float]] = ..., y: _Optional[_Iterable[float]] = ..., features: _Optional[_Iterable[float]] = ...) -> None: ...

class InspectResponse(_message.Message):
    __slots__ = ("decision_map", "quadrants", "certainties", "layers", "classes", "probabilities", "label")
    DECISION_MAP_FIELD_NUMBER: _ClassVar[int]
    QUADRANTS_FIELD_NUMBER: _ClassVar[int]
    CERTAINTIES_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    decision_map: bytes
    quadrants: _containers.RepeatedScalarFieldContainer[Quadrant]
    certainties: _containers.RepeatedScalarFieldContainer[float]
    layers: _containers.RepeatedCompositeFieldContainer[LayerTrace]
    classes: _containers.RepeatedScalarFieldContainer[str]
    probabilities: _containers.RepeatedScalarFieldContainer[float]
    label: str
    def __init__(self, decision_map: _Optional[bytes] = ..., quadrants: _Optional[_Iterable[_Union[Quadrant, str]]] = ..., certainties: _Optional[_Iterable[float]] = ..., layers: _Optional[_Iterable[_Union[LayerTrace, _Mapping]]] = ..., classes: _Optional[_Iterable[str]] = ..., probabilities: _Optional[_Iterable[float]] = ..., label: _Optional[str] = ...) -> None: ...
