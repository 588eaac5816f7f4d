"""Draw figures of planes, curves, calibration and scans. The only module that needs matplotlib.

Figures contain no text of a user's, because a font may lack its characters and matplotlib may parse
it as a formula. They have no background, and their lines and text have colours that follow the
reader's choice of a light or a dark page.
"""

import base64
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.evaluation.model_metrics import ReliabilityBin
from pipeline.evaluation.version_diff import PredictionChanges
from pipeline.report.plane import Plane, choose_colours, to_rgb
from pipeline.wording import confidence_interval
from quadnet.errors import Unsupported
from quadnet.extras import missing_extra
from quadnet.name_display import escape_invisible
from quadnet.types import FloatArray, IntArray

try:
    from matplotlib import font_manager, image, style
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch, Rectangle
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
except ImportError as error:
    raise missing_extra("Drawing a picture", "report", cause=error) from error

INK, FAINT, FIRST, SECOND = "#1b1b1b", "#8a8a8a", "#0072b2", "#c14f00"

_ON_DARK = {INK: "#e6e6e6", FAINT: "#8b8b8b", FIRST: "#56b4e9", SECOND: "#e69f00"}

# Matplotlib's defaults, so that the user's own matplotlib settings have no effect.
_STYLE: list[str | dict[str, Any]] = [
    "default",
    {
        "svg.hashsalt": "quadnet",
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 10,
        "text.parse_math": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.unicode_minus": True,
        **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.labelcolor"), INK),
        **dict.fromkeys(("ytick.labelcolor", "legend.labelcolor"), INK),
        **dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), FAINT),
        "legend.frameon": False,
        "lines.linewidth": 1.8,
    },
]

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_MOST_POINTS = 1000
_LOG_FROM, _LOG_TO = 20.0, 1e200
_LONGEST = 24

MAP_BOX = (0.1, 0.08, 0.88, 0.9)
"""The position of the plane in its figure: left, bottom, width and height, as shares of it."""


def draw_decision_map(plane: Plane, palette: Sequence[str]) -> str:
    """Return a figure of the plane, the training range, and the sample of test rows."""
    low, high = plane.trained
    with styled():
        figure = Figure(figsize=(5.2, 5.2 * MAP_BOX[2] / MAP_BOX[3]))
        axes = figure.add_axes(MAP_BOX)
        _draw_pixels(axes, plane.pixels(palette), plane.low, plane.high)
        for colour, width, dashes in (("white", 2.6, "solid"), ("black", 1.2, (0, (4, 3)))):
            box = Rectangle((low[0], low[1]), *(high - low), fill=False, ec=colour)
            box.set(linewidth=width, linestyle=dashes)
            axes.add_patch(box)
        axes.plot(*plane.sample.hits.T, "o", ms=3.2, mfc="white", mec="black", mew=0.6)
        labels = plane.sample.labels
        for i in np.unique(labels):
            places = plane.sample.misses[labels == i].T
            axes.plot(*places, "X", ms=8.5, mfc="none", mec="white", mew=2.6)
            axes.plot(*places, "X", ms=8, mfc=palette[i], mec="black", mew=0.9)
        return to_svg(figure)


def draw_curves(epochs: Sequence[Mapping[str, float]], best: int) -> str | None:
    """Return a figure of the losses and scores by epoch; None for fewer than two epochs."""
    if len(epochs) < 2:
        return None
    # The figure is not wide enough for more points; the last epoch is one of them.
    shown = np.unique(np.linspace(0, len(epochs) - 1, _MOST_POINTS).astype(int))
    scored = "validation_score" in epochs[0]
    with styled():
        figure = Figure(figsize=(5.2, 4.6 if scored else 3.2))
        panels = np.ravel(
            figure.subplots(1 + scored, 1, sharex=True, height_ratios=[3, 2][: 1 + scored])
        )
        for axes, names in zip(panels, (_LOSSES, _SCORES), strict=False):
            _draw_panel(axes, epochs, shown, names)
            axes.axvline(best, color=FAINT, lw=1, ls=":")
        panels[0].set_ylabel("loss")
        panels[0].legend(loc="best")
        if scored:
            panels[1].set_ylabel("validation score")
        panels[-1].set_xlabel("epoch (dotted: the best one)")
        panels[-1].xaxis.set_major_locator(MaxNLocator(6, integer=True))
        figure.subplots_adjust(left=0.15, right=0.98, top=0.98, bottom=0.11 if scored else 0.15)
        figure.align_ylabels()
        return to_svg(figure)


def draw_reliability(bins: Sequence[ReliabilityBin]) -> str:
    """Return a reliability diagram: accuracy by certainty, and the number of rows.

    The bar around a point is the 95% confidence interval of the accuracy.
    """
    certainty, accuracy = ([getattr(b, name) for b in bins] for name in ("certainty", "accuracy"))
    bounds = np.array([confidence_interval(b.accuracy, b.distinct_rows) for b in bins])
    with styled():
        figure = Figure(figsize=(5.2, 4.6))
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1.2])
        above.plot([0, 1], [0, 1], color=FAINT, lw=1.2, ls="--", label="as sure as right")
        above.vlines(certainty, *bounds.T, color=FIRST, lw=1.6, clip_on=False)
        above.plot(certainty, accuracy, "o", color=FIRST, ms=6, clip_on=False, label="this version")
        above.set(ylabel="share that is right", ylim=(-0.03, 1.03), xlim=(0, 1))
        above.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2)
        rows = [b.rows for b in bins]
        below.bar(
            [b.low for b in bins],
            rows,
            width=[0.9 * (b.high - b.low) for b in bins],
            align="edge",
            color=FIRST,
        )
        below.set(yscale="log", ylim=(0.5, max(rows) * 12), ylabel="rows", xlabel="certainty")
        below.set_yticks([])
        for b in bins:
            below.text((b.low + b.high) / 2, b.rows * 1.25, _short(b.rows), ha="center", size=8)
        figure.subplots_adjust(left=0.13, right=0.97, top=0.92, bottom=0.11, hspace=0.1)
        figure.align_ylabels()
        return to_svg(figure)


def draw_scan(pixels: FloatArray, low: float, high: float) -> str:
    """Return a picture of one scan, one pixel per feature, from white (low) to black (high)."""
    file = io.BytesIO()
    image.imsave(
        file,
        pixels,
        vmin=low,
        vmax=high if high > low else low + 1.0,
        cmap="gray_r",
        format="png",
        metadata=_no_metadata(".png"),
    )
    return _data_uri("image/png", file.getvalue())


def draw_changes(changes: PredictionChanges, names: Sequence[str], path: Path) -> None:
    """Write a picture of the predictions of two versions, and of where they differ, to a file.

    Raises
    ------
    Unsupported
        If the versions do not have exactly two features.
    """
    if changes.x_range is None or changes.y_range is None:
        raise Unsupported(
            "A picture of changes needs versions with 2 features; these have another number."
        )
    classes, numbers = np.unique(changes.answers, return_inverse=True)
    shape = changes.grid[0].shape
    palette = choose_colours([str(name) for name in classes])
    low, high = np.transpose([changes.x_range, changes.y_range])
    with styled():
        figure = Figure(figsize=(12, 4.9), facecolor="white")
        panels = figure.subplots(1, 3)
        for axes, answers, name in zip(panels, numbers.reshape(2, *shape), names, strict=False):
            _draw_pixels(axes, to_rgb(palette)[answers[::-1]], low, high)
            axes.set_title(name)
        changed = changes.changed.reshape(shape)[::-1, :, np.newaxis]
        _draw_pixels(panels[2], np.where(changed, 0.1, [[to_rgb(["#e8e8e8"])[0]]]), low, high)
        panels[2].set_title(f"black: changed, {changes.changed.mean():.3%}")
        figure.legend(
            handles=[
                Patch(color=colour, label=_drawable(str(name)))
                for colour, name in zip(palette, classes, strict=True)
            ],
            loc="lower center",
            ncols=min(8, len(classes)),
        )
        figure.subplots_adjust(left=0.05, right=0.98, top=0.92, bottom=0.17)
        figure.savefig(path, dpi=120, metadata=_no_metadata(path.suffix))


_LOSSES = {"loss": ("training", FIRST, "-"), "validation_loss": ("validation", SECOND, "--")}
_SCORES = {"validation_score": ("validation", SECOND, "--")}


def _draw_panel(
    axes: Axes,
    epochs: Sequence[Mapping[str, float]],
    shown: IntArray,
    names: Mapping[str, tuple[str, str, str]],
) -> None:
    drawn = []
    for name, (label, colour, dashes) in names.items():
        if name in epochs[0]:
            values = np.array([epoch[name] for epoch in epochs])[shown]
            axes.plot(shown + 1, values, color=colour, ls=dashes, label=label)
            drawn += values[np.isfinite(values)].tolist()
    if drawn and min(drawn) > 0 and _LOG_FROM < max(drawn) / min(drawn) < _LOG_TO:
        axes.set_yscale("log")
        narrow = max(drawn) < 100 * min(drawn)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if narrow else (1,), numticks=7))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(_power))
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5))


def _draw_pixels(axes: Axes, pixels: FloatArray, low: FloatArray, high: FloatArray) -> None:
    extent = (low[0], high[0], low[1], high[1])
    axes.imshow(pixels, origin="lower", extent=extent, aspect="auto", interpolation="none")
    axes.set(xlim=extent[:2], ylim=extent[2:])
    for axis, *ends in ((axes.xaxis, low[0], high[0]), (axes.yaxis, low[1], high[1])):
        # Enough digits to distinguish neighbouring ticks, however far from 0 they are.
        digits = max(3, 3 + math.floor(math.log10(max(map(abs, ends)) / (ends[1] - ends[0]))))
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axis.set_major_formatter(
            FuncFormatter(lambda value, _, digits=digits: f"{value:.{digits}g}")
        )


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the style of the report until the context ends."""
    with style.context(_STYLE):
        yield


def to_svg(figure: Figure) -> str:
    """Return the figure as the address of an image, for a light and for a dark page."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata=_no_metadata(".svg"))
    text = file.getvalue().replace("'DejaVu Sans'", "system-ui")
    rules = []
    for i, (colour, on_dark) in enumerate(_ON_DARK.items()):
        text = text.replace(colour, f"var(--c{i})")
        rules.append((f"--c{i}:{colour};", f"--c{i}:{on_dark};"))
    light, dark = ("".join(half) for half in zip(*rules, strict=True))
    css = f"svg{{{light}}}@media(prefers-color-scheme:dark){{svg{{{dark}}}}}"
    text = text.replace("</style>", f"{css}</style>", 1)
    return _data_uri("image/svg+xml", text.encode())


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _no_metadata(suffix: str) -> dict[str, Any]:
    """Return the metadata that keeps the date and matplotlib's version out of a file."""
    if suffix == ".png":
        return {"Software": None}
    return dict.fromkeys(("Date", "Creator", "Format", "Type"))


def _drawable(text: str) -> str:
    """Return the text, shortened, with a replacement for each character that the font lacks."""
    known = font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap()
    cut = escape_invisible(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")
    return "".join(c if ord(c) in known else "\N{REPLACEMENT CHARACTER}" for c in cut)


def _short(n: int) -> str:
    for unit, name in ((1_000_000, "M"), (1000, "k")):
        if n >= unit:
            return f"{n / unit:.{int(n < 9.95 * unit)}f}{name}"
    return str(n)


def _power(value: float, _: int) -> str:
    exponent = round(np.log10(value))
    if -3 < exponent < 4 or not np.isclose(value, 10.0**exponent, atol=0.0):
        return f"{value:g}"
    return f"10{str(exponent).translate(_SUPERSCRIPTS)}"
