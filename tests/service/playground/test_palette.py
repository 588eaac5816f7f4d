"""The page's colours, by published formulas: distinguishable with any colour vision."""

import itertools
import re

import numpy as np
import pytest

from tests.support.serving import ROOT

CSS = (ROOT / "service/playground/static/style.css").read_text()
TEAMS = ("purple", "green", "blue", "red")

# Machado, Oliveira and Fernandes, 2009: full severity, on linear RGB.
SIGHT = {
    "normal": np.eye(3),
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def themes():
    """Return the variables of the light and the dark theme, from the style sheet."""
    blocks = re.findall(r"(:root[^{]*)\{([^{}]*)\}", CSS)
    variables = [dict(re.findall(r"--([\w-]+): (#\w{6})", body)) for _, body in blocks]
    light, *darks = variables
    assert len(darks) == 2
    assert darks[0] == darks[1]
    return {"light": light, "dark": {**light, **darks[0]}}


def linear(text):
    c = np.array([int(text[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def luminance(text):
    return linear(text) @ [0.2126, 0.7152, 0.0722]


def contrast(a, b):
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def lab(rgb):
    xyz = np.clip(rgb, 0, 1) @ np.array(
        [
            [0.4124564, 0.2126729, 0.0193339],
            [0.3575761, 0.7151522, 0.1191920],
            [0.1804375, 0.0721750, 0.9503041],
        ]
    )
    t = xyz / [0.95047, 1.0, 1.08883]
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def ciede2000(one, two):
    """Sharma, Wu and Dalal, 2005."""
    (L1, a1, b1), (L2, a2, b2) = one, two
    mean = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    G = (1 - np.sqrt(mean**7 / (mean**7 + 25**7))) / 2
    a1, a2 = (1 + G) * a1, (1 + G) * a2
    C1, C2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.degrees(np.arctan2(b1, a1)) % 360, np.degrees(np.arctan2(b2, a2)) % 360
    turn = (h2 - h1 + 180) % 360 - 180 if C1 * C2 else 0.0
    dH = 2 * np.sqrt(C1 * C2) * np.sin(np.radians(turn / 2))
    L, C = (L1 + L2) / 2, (C1 + C2) / 2
    h = (h1 + turn / 2) % 360 if C1 * C2 else h1 + h2
    cos = lambda degrees: np.cos(np.radians(degrees))  # noqa: E731
    T = 1 - 0.17 * cos(h - 30) + 0.24 * cos(2 * h) + 0.32 * cos(3 * h + 6) - 0.2 * cos(4 * h - 63)
    S_L = 1 + 0.015 * (L - 50) ** 2 / np.sqrt(20 + (L - 50) ** 2)
    S_C, S_H = 1 + 0.045 * C, 1 + 0.015 * C * T
    R = (
        -2
        * np.sqrt(C**7 / (C**7 + 25**7))
        * np.sin(np.radians(60 * np.exp(-(((h - 275) / 25) ** 2))))
    )
    dL, dC, dH = (L2 - L1) / S_L, (C2 - C1) / S_C, dH / S_H
    return np.sqrt(dL * dL + dC * dC + dH * dH + R * dC * dH)


def test_the_formula_is_the_published_one():
    """Three pairs of the paper's own test data."""
    for one, two, expected in (
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
    ):
        assert ciede2000(one, two) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("sight", SIGHT)
def test_the_teams_are_distinguishable(sight):
    colours = themes()["light"]
    seen = [lab(np.array(SIGHT[sight]) @ linear(colours[team])) for team in TEAMS]
    assert min(ciede2000(a, b) for a, b in itertools.combinations(seen, 2)) >= 15


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_lines_and_text_have_enough_contrast(theme):
    colours = themes()[theme]
    for name in (*TEAMS, "plus", "minus", "field"):
        assert contrast(colours[name], colours["paper"]) >= 3, name
    for name, under in (
        ("ink", "paper"),
        ("soft", "paper"),
        ("soft", "ground"),
        ("on-accent", "accent"),
        ("warn-ink", "warn"),
    ):
        assert contrast(colours[name], colours[under]) >= 4.5, (name, under)
