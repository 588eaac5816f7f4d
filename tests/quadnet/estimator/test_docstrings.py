"""Every example in a docstring runs, and everything public of the estimator has one."""

import doctest
import inspect
import re

import pytest

from quadnet import NeuralNetworkClassifier
from quadnet.nn.activations import ACTIVATIONS
from quadnet.nn.initializers import INITIALIZERS
from quadnet.nn.layers.kinds import LAYER_KINDS
from quadnet.nn.losses import LOSS_PARAMETERS

# Of both classes, because the finder follows no inheritance; `module=False`, because the
# estimator is shown under its public path.
EXAMPLES = [
    test
    for part in (*NeuralNetworkClassifier.__mro__, *LAYER_KINDS.values())
    if part.__module__.split(".")[0] == "quadnet"
    for test in doctest.DocTestFinder().find(part, module=False)
    if test.examples
]


@pytest.mark.parametrize("test", EXAMPLES, ids=lambda test: test.name)
def test_the_examples_run(test):
    assert doctest.DocTestRunner().run(test).failed == 0


def test_there_are_examples():
    assert sum(len(test.examples) for test in EXAMPLES) > 30


PUBLIC = [
    name
    for name, member in inspect.getmembers(NeuralNetworkClassifier, callable)
    if not name.startswith("_") and member.__module__.startswith("quadnet.")
]


@pytest.mark.parametrize("name", PUBLIC)
def test_public_methods_say_what_goes_in_and_what_comes_out_and_show_it(name):
    method = getattr(NeuralNetworkClassifier, name)
    doc = inspect.getdoc(method)
    for section in ("Returns\n-------", "Examples\n--------"):
        assert section in doc, (name, section)
    for parameter in inspect.signature(method).parameters:
        assert parameter in {"self", "cls"} or f"{parameter} :" in doc or f"{parameter}, " in doc


def test_every_parameter_and_every_fitted_attribute_is_documented():
    doc = inspect.getdoc(NeuralNetworkClassifier)
    parameters, _, attributes = doc.partition("Attributes\n----------")
    documented = [line.partition(" :")[0].split(", ") for line in parameters.splitlines()]
    documented = [name for names in documented for name in names]
    assert set(NeuralNetworkClassifier().get_params()) <= set(documented)
    net = NeuralNetworkClassifier(solver="lbfgs").fit([[0.0], [1.0]], [0, 1])
    for name in vars(net):
        if name.endswith("_"):
            assert f"\n{name} :" in attributes, name


def test_the_documented_names_of_choices_are_those_of_the_tables():
    doc = inspect.getdoc(NeuralNetworkClassifier)
    for parameter, names in (("activation", ACTIVATIONS), ("loss", LOSS_PARAMETERS)):
        listed = re.search(rf"^{parameter} : \{{(.*?)\}}", doc, re.MULTILINE)[1]
        assert re.findall(r"'(\w+)'", listed) == list(names)
    described = re.search(r"^init : .*?^\w+ :", doc, re.MULTILINE | re.DOTALL)[0]
    assert {"auto", *INITIALIZERS} <= set(re.findall(r"'(\w+)'", described))


def test_the_documented_public_methods_are_these():
    assert PUBLIC == [
        "activations",
        "check_gradients",
        "decision_function",
        "fit",
        "freeze",
        "from_arrays",
        "partial_fit",
        "predict",
        "predict_log_proba",
        "predict_proba",
        "summary",
        "to_arrays",
    ]
