"""Every example in a docstring runs, and everything public of the estimator has one."""

import doctest
import inspect
import re

import pytest

from quadnet import NeuralNetworkClassifier, NeuralNetworkRegressor
from quadnet.nn.activations import ACTIVATIONS
from quadnet.nn.initializers import INITIALIZERS
from quadnet.nn.layers.kinds import LAYER_KINDS
from quadnet.nn.losses.of_classes import LOSS_PARAMETERS
from quadnet.nn.losses.of_numbers import REGRESSION_LOSSES

ESTIMATORS = {
    NeuralNetworkClassifier: LOSS_PARAMETERS,
    NeuralNetworkRegressor: REGRESSION_LOSSES,
}

# Of every base class, because the finder follows no inheritance; `module=False`, because the
# estimators are shown under their public path.
EXAMPLES = [
    test
    for part in dict.fromkeys(
        [*NeuralNetworkClassifier.__mro__, *NeuralNetworkRegressor.__mro__, *LAYER_KINDS.values()]
    )
    if part.__module__.split(".")[0] == "quadnet"
    for test in doctest.DocTestFinder().find(part, module=False)
    if test.examples
]


@pytest.mark.parametrize("test", EXAMPLES, ids=lambda test: test.name)
def test_the_examples_run(test):
    assert doctest.DocTestRunner().run(test).failed == 0


def test_there_are_examples():
    assert sum(len(test.examples) for test in EXAMPLES) > 30


def public_methods(estimator):
    return [
        name
        for name, member in inspect.getmembers(estimator, callable)
        if not name.startswith("_") and member.__module__.startswith("quadnet.")
    ]


PUBLIC = [(estimator, name) for estimator in ESTIMATORS for name in public_methods(estimator)]


@pytest.mark.parametrize(("estimator", "name"), PUBLIC)
def test_public_methods_say_what_goes_in_and_what_comes_out_and_show_it(estimator, name):
    method = getattr(estimator, name)
    doc = inspect.getdoc(method)
    for section in ("Returns\n-------", "Examples\n--------"):
        assert section in doc, (name, section)
    for parameter in inspect.signature(method).parameters:
        assert parameter in {"self", "cls"} or f"{parameter} :" in doc or f"{parameter}, " in doc


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_parameter_and_every_fitted_attribute_is_documented(estimator):
    doc = inspect.getdoc(estimator)
    parameters, _, attributes = doc.partition("Attributes\n----------")
    documented = [line.partition(" :")[0].split(", ") for line in parameters.splitlines()]
    documented = [name for names in documented for name in names]
    assert set(estimator().get_params()) <= set(documented)
    net = estimator(solver="lbfgs").fit([[0.0], [1.0]], [0, 1])
    for name in vars(net):
        if name.endswith("_"):
            assert f"\n{name} :" in attributes, name


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_documented_names_of_choices_are_those_of_the_tables(estimator):
    doc = inspect.getdoc(estimator)
    for parameter, names in (("activation", ACTIVATIONS), ("loss", ESTIMATORS[estimator])):
        listed = re.search(rf"^{parameter} : \{{(.*?)\}}", doc, re.MULTILINE)[1]
        assert re.findall(r"'(\w+)'", listed) == list(names)
    described = re.search(r"^init : .*?^\w+ :", doc, re.MULTILINE | re.DOTALL)[0]
    assert {"auto", *INITIALIZERS} <= set(re.findall(r"'(\w+)'", described))


def test_the_documented_public_methods_are_these():
    assert public_methods(NeuralNetworkClassifier) == [
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
        "to_onnx",
    ]
    assert public_methods(NeuralNetworkRegressor) == [
        "activations",
        "check_gradients",
        "fit",
        "freeze",
        "from_arrays",
        "partial_fit",
        "predict",
        "predict_interval",
        "predict_quantiles",
        "summary",
        "to_arrays",
        "to_onnx",
    ]
