"""Stacks of layers in run files: what is read, and what is refused, with its place."""

import pytest

from pipeline.config.layer_stacks import describe_layers, parse_layers
from pipeline.config.run_file import load_run_file
from quadnet.errors import ConfigurationError
from quadnet.layers import Activation, Conv2D, Dense, Flatten, MaxPool2D, Residual

GOOD = """
name = "mine"
[data]
kind = "digits"
[network]
input_shape = [8, 8]
layers = [
    {kind = "conv2d", filters = 4, kernel = 3}, "relu", {kind = "max_pool2d", size = 2},
    {kind = "flatten"}, {kind = "dense", units = 16}, "relu",
]
[gate]
accuracy = 0.9
"""

STACK = [
    Conv2D(4, 3), Activation("relu"), MaxPool2D(2), Flatten(), Dense(16), Activation("relu"),
]  # fmt: skip


def load(tmp_path, *changes, text=GOOD):
    path = tmp_path / "run.toml"
    path.write_text(text)
    return load_run_file(path, changes)


def test_a_stack_is_read_and_its_specs_are_the_same_stack(tmp_path):
    layers = parse_layers(load(tmp_path).network["layers"])
    assert list(layers) == STACK
    assert parse_layers([layer.to_spec() for layer in layers]) == layers


def test_set_replaces_the_stack(tmp_path):
    change = 'network.layers=[{kind="flatten"}, {kind="residual", layers=["tanh"]}]'
    layers = parse_layers(load(tmp_path, change).network["layers"])
    assert layers == (Flatten(), Residual(["tanh"]))
    assert parse_layers([layer.to_spec() for layer in layers]) == layers


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("layers=5", "network.layers: expected a list of layers, such as"),
        ("layers=relu", "network.layers: expected a list of layers, such as"),
        ("layers=[5]", "network.layers[0] must be a mapping with a kind, got 5"),
        ('layers=["relu", "rely"]', "network.layers[1]: expected the name of an activation ("),
        (
            'layers=["flatten"]',
            """got 'flatten'. Write {kind = "flatten"} for the layer.""",
        ),
        ('layers=[{kind="gru"}]', "network.layers[0] is of the unknown kind 'gru'; this release"),
        ("layers=[{units=3}]", "network.layers[0] is of the unknown kind None"),
        (
            'layers=["relu", {kind="conv2d", filters=4}]',
            (
                "network.layers[1], of kind 'conv2d', has a wrong setting: the setting 'kernel' is "
                "missing."
            ),
        ),
        (
            'layers=[{kind="conv2d", filters=4, kernal=3}]',
            (
                "network.layers[0], of kind 'conv2d', has a wrong setting: there is no setting "
                "'kernal'. The settings are: filters, kernel, stride, padding, bias."
            ),
        ),
        (
            'layers=[{kind="conv2d", filters=4, kernel=0}]',
            (
                "network.layers[0], of kind 'conv2d', has a wrong setting: Conv2D: kernel must be "
                "a whole number of at least 1, or (height, width). Got 0."
            ),
        ),
        (
            'layers=[{kind="residual", layers=["relu", {kind="dense"}]}]',
            "network.layers[0].layers[1], of kind 'dense', has a wrong setting",
        ),
        ('layers=[{kind="dropout", rate=1' + "0" * 400 + "}]", "expected smaller numbers, got"),
        # Layers that do not fit the layer below.
        (
            'layers=[{kind="dense", units=4}]',
            (
                "network.layers[0], Dense(4), needs an input of shape (n_inputs,). "
                "Got the shape (1, 8, 8). Put Flatten() before it."
            ),
        ),
        (
            'layers=[{kind="flatten"}, {kind="conv2d", filters=2, kernel=3}]',
            "network.layers[1], Conv2D(2, 3), needs an input of shape (channels, height, width).",
        ),
        (
            'layers=[{kind="conv2d", filters=2, kernel=9}]',
            "network.layers[0], Conv2D(2, 9), needs a picture of at least 9 x 9 values.",
        ),
        (
            'layers=[{kind="conv2d", filters=2, kernel=3}, "relu"]',
            (
                "network.layers: expected an output of shape (n_values,) for the output layer, "
                'which is added, got the shape (2, 6, 6). Add {kind = "flatten"} at the end.'
            ),
        ),
        # Keys that the layers replace.
        (
            "hidden_layer_sizes=[6]",
            (
                "network.hidden_layer_sizes: expected either network.layers or "
                "network.hidden_layer_sizes, got both."
            ),
        ),
        ("activation=tanh", "network.activation: expected either network.layers or"),
        ("dropout=0.1", "dropout; remove network.dropout."),
    ],
)
def test_a_wrong_stack_is_reported_with_file_key_layer_and_kind(tmp_path, change, message):
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, f"network.{change}")
    assert str(caught.value).startswith("run.toml: network.")
    assert message in str(caught.value)
    assert str(caught.value).count("\n") == 0


SPACE = 'search.space.layers=[[{kind="flatten"}], [{kind="flatten"}, {kind="dense", units=3}]]'


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            [SPACE.replace('"dense", units=3', '"dense"')],
            "search.space.layers[1][1], of kind 'dense', has a wrong setting",
        ),
        (
            ['search.space.layers=[[{kind="dense", units=3}]]'],
            "search.space.layers[0][0], Dense(3), needs an input",
        ),
        (['search.space.layers=["relu"]'], "search.space.layers[0]: expected a list of layers"),
        (
            [SPACE, 'search.space.activation=["relu"]'],
            "search.space.activation: expected either network.layers or",
        ),
    ],
)
def test_a_wrong_stack_of_a_search_is_reported_with_its_place(tmp_path, changes, message):
    assert load(tmp_path, SPACE).search.space["layers"][0] == [{"kind": "flatten"}]
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, *changes)
    assert str(caught.value).startswith(f"run.toml: {message}")


def test_values_that_are_nested_too_deeply_are_refused(tmp_path):
    deep = "[" * 2000 + "]" * 2000
    with pytest.raises(ConfigurationError, match=r"run\.toml is nested too deeply"):
        load(tmp_path, text=GOOD + f"x = {deep}")
    with pytest.raises(ConfigurationError, match="the value is nested too deeply"):
        load(tmp_path, f"network.layers={deep}")


def test_a_stack_is_described_without_its_defaults():
    layers = [
        *STACK,
        Conv2D(4, (3, 5), stride=2, padding="same"),
        MaxPool2D(2, 1),
        Residual(["elu"]),
    ]
    expected = (
        "conv2d(filters=4, kernel=3), relu, max_pool2d(size=2), flatten, dense(units=16), relu, "
        "conv2d(filters=4, kernel=3x5, stride=2, padding=same), max_pool2d(size=2, stride=1), "
        "residual(layers=[elu])"
    )
    assert ", ".join(describe_layers([layer.to_spec() for layer in layers])) == expected
    as_written = ["relu", {"kind": "conv2d", "filters": 4, "kernel": 3}, {"kind": "flatten"}]
    assert list(describe_layers(as_written)) == ["relu", "conv2d(filters=4, kernel=3)", "flatten"]
