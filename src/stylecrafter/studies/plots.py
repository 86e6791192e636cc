"""Plots as SVG text; the same numbers give the same text."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from stylecrafter.errors import MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stylecrafter.evaluation.statistics import Interval


def lines(
    title: str,
    across: tuple[str, Sequence[float]],
    up: str,
    series: Mapping[str, Sequence[Interval]],
    *,
    level: float | None = None,
) -> str:
    """Means over a number, with their intervals as bands.

    Args:
        title: Above the plot.
        across: Label and values of the horizontal axis, in order.
        up: Label of the vertical axis.
        series: Name -> one interval for each value.
        level: Where a dashed line is drawn.

    Raises:
        MissingDependencyError: Matplotlib is not installed.
    """
    label, values = across
    with _figure(title, label, up) as (axes, svg):
        for name, intervals in series.items():
            (line,) = axes.plot(values, [i.mean for i in intervals], marker="o", markersize=3, label=name)
            lows, highs = [i.low for i in intervals], [i.high for i in intervals]
            axes.fill_between(values, lows, highs, color=line.get_color(), alpha=0.2, linewidth=0)
        if level is not None:
            axes.axhline(level, color="grey", linestyle="--", linewidth=0.8)
        if len(series) > 1:
            axes.legend(fontsize=8)
    return svg.getvalue()


def bars(title: str, up: str, values: Mapping[str, Interval]) -> str:
    """One bar with its interval for each name.

    Raises:
        MissingDependencyError: Matplotlib is not installed.
    """
    with _figure(title, "", up) as (axes, svg):
        means = [i.mean for i in values.values()]
        errors = [[i.mean - i.low for i in values.values()], [i.high - i.mean for i in values.values()]]
        axes.bar(range(len(values)), means, yerr=errors, capsize=2, alpha=0.8)
        axes.set_xticks(range(len(values)), list(values), rotation=40, ha="right", fontsize=8)
    return svg.getvalue()


@contextmanager
def _figure(title: str, across: str, up: str) -> Iterator[tuple[Any, io.StringIO]]:
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("plots need matplotlib; pip install 'stylecrafter[eval]'") from error
    svg = io.StringIO()
    # Without these two, names of elements and the date differ each time.
    with matplotlib.rc_context({"svg.hashsalt": "stylecrafter", "svg.fonttype": "none"}):
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        axes = figure.subplots()
        axes.set_title(title, fontsize=10)
        axes.set_xlabel(across, fontsize=9)
        axes.set_ylabel(up, fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
        yield axes, svg
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
