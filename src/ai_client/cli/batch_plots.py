"""The plots of a report, by matplotlib: the extra `report`. Loaded only when there is something to draw."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ai_client.batch.report import Bars, Curve, Plot, Steps

_WIDTH: Final = 8.0
_HEIGHT: Final = 3.4
_BAR_HEIGHT: Final = 0.4
_AROUND_BARS: Final = 1.1
_DPI: Final = 150
_INK: Final = "#1f2933"
_FAINT: Final = "#d9dee3"
_COLOURS: Final = ("#2563a8", "#e08a1e", "#3a9d6e", "#8a5bb5")


def draw(path: Path, plot: Plot) -> None:
    """Write a plot as a PNG file. Raises OSError when it cannot be written."""
    height = _AROUND_BARS + _BAR_HEIGHT * len(plot.names) if isinstance(plot, Bars) else _HEIGHT
    figure = Figure(figsize=(_WIDTH, height), dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=_INK, labelsize=8)
    axes.set_title(plot.title, loc="left", fontsize=10, color=_INK)
    if isinstance(plot, Steps):
        _steps(axes, plot)
    elif isinstance(plot, Curve):
        _curve(axes, plot)
    else:
        _bars(axes, plot)
    figure.savefig(path, metadata={"Software": None})


def _steps(axes: Axes, plot: Steps) -> None:
    edges = [index * plot.width for index in range(len(plot.heights) + 1)]
    axes.stairs(plot.heights, edges, fill=True, color=_COLOURS[0], alpha=0.85)
    axes.set_xlim(0, edges[-1])
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color=_FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    _label(axes, plot.x, plot.y)


def _curve(axes: Axes, plot: Curve) -> None:
    axes.step(plot.xs, plot.ys, where="post", color=_COLOURS[0], linewidth=1.6)
    axes.set_xscale("log")
    axes.set_ylim(0, 100)
    axes.grid(color=_FAINT, linewidth=0.6, which="both")
    for colour, (name, x, y) in zip(_COLOURS[1:], plot.marks, strict=False):
        axes.plot([x, x], [0, y], color=colour, linewidth=1.2, linestyle="--", label=f"{name}: {x:,.0f} ms")
        axes.plot([x], [y], color=colour, marker="o", markersize=4)
    axes.legend(fontsize=8, frameon=False, loc="upper left")
    axes.xaxis.set_major_formatter(lambda value, _position: f"{value:,.10g}")
    axes.xaxis.set_minor_formatter(lambda value, _position: f"{value:,.10g}")
    axes.tick_params(which="minor", labelsize=8)
    _label(axes, plot.x, plot.y)


def _bars(axes: Axes, plot: Bars) -> None:
    places = range(len(plot.names))
    left: Sequence[float] = [0.0] * len(plot.names)
    for colour, (name, widths) in zip(_COLOURS, plot.parts, strict=False):
        axes.barh(places, widths, left=left, height=0.6, color=colour, label=name)
        left = [before + width for before, width in zip(left, widths, strict=True)]
    for place, total, text in zip(places, left, plot.totals, strict=True):
        axes.annotate(text, (total, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(places, plot.names)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(lambda value, _position: f"{value:,.10g}")
    if len(plot.parts) > 1:
        axes.legend(fontsize=8, frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=len(plot.parts))
    _label(axes, plot.x, "")


def _label(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=8, color=_INK)
    axes.set_ylabel(y, fontsize=8, color=_INK)
