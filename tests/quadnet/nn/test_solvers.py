"""The table of solvers: what it says of each is so, and every list of names is made from it."""

import inspect
import re

import numpy as np
import pytest
from sklearn.datasets import load_iris

from quadnet import NeuralNetworkClassifier
from quadnet.nn.activations import ACTIVATIONS
from quadnet.nn.initializers import INITIALIZERS
from quadnet.nn.layers.dense import Dense
from quadnet.nn.losses.of_classes import LOSS_PARAMETERS
from quadnet.nn.optimizers import OptimizerSettings
from quadnet.nn.parameters import Parameters
from quadnet.nn.schedules import SCHEDULES
from quadnet.nn.solvers import SOLVERS
from tests.support.oracle import fit

X, Y = load_iris(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)

# Of each parameter another value than its default, and what makes it count where it does.
CHANGES = {
    "batch_size": ({"batch_size": 31}, {}),
    "shuffle": ({"shuffle": False}, {"batch_size": 31}),
    "alpha": ({"alpha": 3.0}, {}),
    "alpha_scaling": ({"alpha_scaling": "samples"}, {"alpha": 3.0, "batch_size": 31}),
    "learning_rate": ({"learning_rate": "step"}, {"step_epochs": 1}),
    "learning_rate_init": ({"learning_rate_init": 0.02}, {}),
    "power_t": ({"power_t": 0.9}, {"learning_rate": "invscaling"}),
    "step_epochs": ({"step_epochs": 2}, {"learning_rate": "step"}),
    "step_factor": ({"step_factor": 0.9}, {"learning_rate": "step", "step_epochs": 1}),
    "momentum": ({"momentum": 0.5}, {}),
    "nesterovs_momentum": ({"nesterovs_momentum": False}, {}),
    "beta_1": ({"beta_1": 0.5}, {}),
    "beta_2": ({"beta_2": 0.5}, {}),
    "epsilon": ({"epsilon": 0.1}, {}),
    "max_fun": ({"max_fun": 3}, {}),
    "max_iter": ({"max_iter": 7}, {}),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_parameter_is_unused_just_where_the_table_says_so(solver, name):
    change, context = CHANGES[name]
    options = {"hidden_layer_sizes": (5,), "solver": solver, "max_iter": 4, "random_state": 0}
    before = fit(NeuralNetworkClassifier(**options, **context), X, Y)
    after = fit(NeuralNetworkClassifier(**options | context | change), X, Y)
    same = all((a == b).all() for a, b in zip(before.coefs_, after.coefs_, strict=True))
    assert same == (name in SOLVERS[solver].unused)


def test_the_table_names_parameters_and_schedules_that_there_are():
    parameters = NeuralNetworkClassifier().get_params().keys()
    for name, solver in SOLVERS.items():
        assert solver.name == name
        assert solver.unused <= CHANGES.keys()
        assert solver.required.keys() <= parameters
        assert solver.unused_schedules <= set(SCHEDULES)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_is_constant_just_where_the_table_says_so(solver, schedule):
    if not SOLVERS[solver].makes_updates:
        pytest.skip("it has no learning rate")
    net = NeuralNetworkClassifier(
        (5,), solver=solver, learning_rate=schedule, step_epochs=1, tol=1e9, n_iter_no_change=1,
        max_iter=6, random_state=0,
    )  # fmt: skip
    rates = set(fit(net, X, Y).learning_rate_curve_)
    constant = schedule == "constant" or schedule in SOLVERS[solver].unused_schedules
    assert (len(rates) == 1) == constant


@pytest.mark.parametrize("solver", SOLVERS)
def test_required_values_are_required(solver):
    others = {"dropout": 0.5, "max_grad_norm": 1.0, "warmup_epochs": 2.0}
    assert SOLVERS[solver].required.keys() <= others.keys()
    for name, other in others.items():
        net = NeuralNetworkClassifier((5,), solver=solver, max_iter=2, **{name: other})
        if name in SOLVERS[solver].required:
            with pytest.raises(ValueError, match=f"'{name}' parameter.*with solver='{solver}'"):
                net.fit(X, Y)
        else:
            fit(net, X, Y)


@pytest.mark.parametrize("solver", SOLVERS)
def test_updates_are_made_and_moments_kept_as_the_table_says(solver):
    row, parameters = SOLVERS[solver], Parameters([Dense(4).array_specs((3,))])
    assert hasattr(NeuralNetworkClassifier(solver=solver), "partial_fit") == row.makes_updates
    if not row.makes_updates:
        assert row.n_moments == 0
        return
    optimizer = row.make_optimizer(parameters, OptimizerSettings(0.1), alpha=0.5)
    assert type(optimizer) is row.optimizer
    assert len(optimizer.moments) == row.n_moments * len(parameters.flat)
    expected = parameters.weights_only(0.5) if row.decoupled_decay else None
    np.testing.assert_array_equal(optimizer.decay, expected)
    assert row.penalty_strength(0.5) == (0.0 if row.decoupled_decay else 0.5)


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("solver", SOLVERS),
        ("activation", ACTIVATIONS),
        ("learning_rate", SCHEDULES),
        ("loss", LOSS_PARAMETERS),
        ("init", ["auto", *INITIALIZERS]),
    ],
)
def test_the_docstring_names_every_value(name, table):
    doc = inspect.getdoc(NeuralNetworkClassifier)
    entry = re.search(rf"^{name} : (.*?)^\w", doc, re.MULTILINE | re.DOTALL)[1]
    values = entry if name == "init" else entry[: entry.index("default=")]
    assert set(re.findall(r"'(\w+)'", values)) == set(table)
