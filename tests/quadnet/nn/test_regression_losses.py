"""The losses of numbers against SciPy and scikit-learn, and their deltas against differences.

One example is a column here, as it is in quadnet.nn.losses.
"""

import numpy as np
import pytest
from scipy.special import huber
from sklearn.metrics import mean_absolute_error, mean_pinball_loss, mean_poisson_deviance

from quadnet.nn.losses.of_classes import LOSSES
from quadnet.nn.losses.of_numbers import REGRESSION_LOSSES
from quadnet.nn.losses.table import make_loss

RNG = np.random.default_rng(0)
Z = RNG.normal(0, 2, (6, 7))
Y = RNG.uniform(0.5, 3, (6, 7))
QUANTILES = [0.05, 0.5, 0.7]
SETTINGS = {
    "squared_error": {},
    "absolute_error": {},
    "poisson": {},
    "huber": {"delta": 0.8},
    "quantile": {"quantiles": QUANTILES, "scales": [1.0, 1.0]},
    "scaled": {"quantiles": QUANTILES, "scales": [0.3, 4.0]},
    "single": {"quantiles": [0.9], "scales": [1.0] * 6},
}


def loss_of(case):
    return make_loss(case if case in REGRESSION_LOSSES else "quantile", SETTINGS[case])


def outputs(loss, Z):
    P = np.array(Z)
    loss.link(P)
    return P


def test_every_loss_is_tested_and_no_name_has_two_meanings():
    assert REGRESSION_LOSSES.keys() <= SETTINGS.keys()
    assert not REGRESSION_LOSSES.keys() & LOSSES.keys()


@pytest.mark.parametrize("case", SETTINGS)
def test_delta_is_the_gradient_with_respect_to_the_logits(case):
    loss = loss_of(case)
    P = outputs(loss, Z)
    delta, with_scratch = np.empty_like(P), np.empty_like(P)
    loss.delta(P, Y, delta)
    loss.delta(P, Y, with_scratch, np.empty_like(P))
    np.testing.assert_array_equal(with_scratch, delta)
    h = 1e-6
    for index in np.ndindex(Z.shape):
        step = np.zeros_like(Z)
        step[index] = h
        above = loss.values(outputs(loss, Z + step), Y).sum()
        below = loss.values(outputs(loss, Z - step), Y).sum()
        assert delta[index] == pytest.approx((above - below) / (2 * h), rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("case", SETTINGS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_float32_stays_float32_and_leading_axes_are_kept(case, dtype):
    loss = loss_of(case)
    P, T = outputs(loss, Z.astype(dtype)), Y.astype(dtype)
    delta = np.empty_like(P)
    loss.delta(P, T, delta)
    assert P.dtype == loss.values(P, T).dtype == dtype
    twice = loss.values(np.stack([P, P]), np.stack([T, T]))
    np.testing.assert_array_equal(twice, [loss.values(P, T)] * 2)


def test_values_are_those_of_scikit_learn():
    P = np.abs(Z) + 0.1
    options = {"multioutput": "raw_values"}
    absolute = loss_of("absolute_error").values(P, Y).mean()
    assert absolute == pytest.approx(mean_absolute_error(Y.T, P.T, **options).sum())
    poisson = loss_of("poisson").values(P, Y).mean()
    by_output = [mean_poisson_deviance(y, p) for y, p in zip(Y, P, strict=True)]
    assert poisson == pytest.approx(sum(by_output) / 2)
    assert loss_of("poisson").values(P[:, :1], np.zeros((6, 1))) == pytest.approx(P[:, 0].sum())
    assert loss_of("huber").values(P, Y).mean() == pytest.approx(huber(0.8, P - Y).sum(0).mean())
    pinball = loss_of("quantile").values(P, Y).mean()
    levels = np.repeat(QUANTILES, 2)
    by_output = [mean_pinball_loss(Y[k], P[k], alpha=levels[k]) for k in range(6)]
    assert pinball == pytest.approx(sum(by_output))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_quantiles_never_cross(dtype):
    far = np.array([[0.0], [-1e4], [3.0], [1e7], [-88.0], [1e-9]], dtype)
    for case in ("quantile", "scaled"):
        for logits in (Z.astype(dtype) * 50, far):
            P = outputs(loss_of(case), logits).reshape(3, 2, -1)
            assert np.isfinite(P).all()
            assert (np.diff(P, axis=0) >= 0).all()


def test_a_scale_multiplies_quantiles_as_it_multiplies_the_last_layer():
    plain, scales = loss_of("quantile"), np.tile([0.3, 4.0], 3)[:, np.newaxis]
    expected = outputs(plain, Z) * scales
    np.testing.assert_allclose(outputs(loss_of("scaled"), Z * scales), expected, rtol=1e-12)


@pytest.mark.parametrize(
    "quantiles", [[], [0.0, 0.5], [0.5, 0.5], [0.9, 0.1], [0.5, 1.0], [np.nan]]
)
def test_quantiles_must_increase_between_0_and_1(quantiles):
    with pytest.raises(ValueError, match="quantiles must increase"):
        make_loss("quantile", {"quantiles": quantiles, "scales": [1.0]})


@pytest.mark.parametrize("name", ["squared_error", "poisson"])
def test_a_network_of_numbers_has_no_probabilities(name):
    with pytest.raises(TypeError, match="predicts numbers has no class probabilities"):
        loss_of(name).probabilities(Z)
