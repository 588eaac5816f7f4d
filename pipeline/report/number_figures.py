"""Draw figures of predicted numbers, their errors and their quantiles. Needs matplotlib."""

from collections.abc import Sequence

import numpy as np

from pipeline.evaluation.number_metrics import ResidualBin
from pipeline.report.figures import FAINT, FIRST, styled, to_svg
from quadnet.registry.metric_records import QuantileMetrics
from quadnet.types import FloatArray

# isort: split
# After `figures`, which reports a missing matplotlib.
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

_SIZE = (5.2, 4.0)
_MARGINS = {"left": 0.17, "right": 0.97, "top": 0.97, "bottom": 0.14}


def draw_predictions(y: FloatArray, P: FloatArray) -> str:
    """Return a figure of the predictions P by the true numbers y, each of shape (n_rows,)."""
    ends = [min(y.min(), P.min()), max(y.max(), P.max())]
    with styled():
        figure = Figure(figsize=_SIZE)
        axes = figure.subplots()
        axes.plot(ends, ends, color=FAINT, lw=1.2, ls="--")
        axes.plot(y, P, "o", color=FIRST, ms=3, alpha=0.5, mew=0)
        axes.set(xlabel="number", ylabel="prediction")
        axes.xaxis.set_major_locator(MaxNLocator(6))
        figure.subplots_adjust(**_MARGINS)
        return to_svg(figure)


def draw_residuals(y: FloatArray, P: FloatArray) -> str:
    """Return a figure of the errors P - y by the predictions P, each of shape (n_rows,)."""
    with styled():
        figure = Figure(figsize=_SIZE)
        axes = figure.subplots()
        axes.axhline(0.0, color=FAINT, lw=1.2, ls="--")
        axes.plot(P, P - y, "o", color=FIRST, ms=3, alpha=0.5, mew=0)
        axes.set(xlabel="prediction", ylabel="error")
        axes.xaxis.set_major_locator(MaxNLocator(6))
        figure.subplots_adjust(**_MARGINS)
        return to_svg(figure)


def draw_histogram(bins: Sequence[ResidualBin]) -> str:
    """Return a histogram of the errors; its tails are left out where they are wider than a bin."""
    inner = bins[1:-1] if len(bins) > 2 else bins
    low = np.array([b.low for b in inner])
    widths = np.array([b.high - b.low for b in inner])
    with styled():
        figure = Figure(figsize=_SIZE)
        axes = figure.subplots()
        axes.bar(low, [b.rows for b in inner], width=0.95 * widths, align="edge", color=FIRST)
        axes.axvline(0.0, color=FAINT, lw=1.2, ls="--")
        axes.set(xlabel="error", ylabel="rows")
        axes.xaxis.set_major_locator(MaxNLocator(6))
        figure.subplots_adjust(**_MARGINS)
        return to_svg(figure)


def draw_quantiles(quantiles: Sequence[QuantileMetrics]) -> str:
    """Return a figure of the share of rows up to each quantile."""
    levels, shares = ([getattr(q, name) for q in quantiles] for name in ("level", "share_up_to"))
    with styled():
        figure = Figure(figsize=_SIZE)
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=FAINT, lw=1.2, ls="--")
        axes.plot(levels, shares, "o-", color=FIRST, ms=6, lw=1.2, clip_on=False)
        axes.set(xlabel="quantile", ylabel="share of rows up to it", xlim=(0, 1), ylim=(0, 1))
        figure.subplots_adjust(**_MARGINS)
        return to_svg(figure)
