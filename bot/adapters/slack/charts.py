"""Charts: Slack's own block, a PNG where that is refused.

Also always the words a blind reader hears.
"""

from __future__ import annotations

import io
import math
from dataclasses import replace

from slackblocks import (
    AxisConfig,
    BarChart,
    DataPoint,
    DataSeries,
    DataVisualizationBlock,
    LineChart,
)

from bot.adapters.slack.limits import CHART_LABEL as LABEL
from bot.adapters.slack.limits import CHART_TITLE as TITLE
from bot.adapters.slack.limits import POINTS, SERIES
from bot.adapters.slack.text import cut, plain
from bot.domain.card import Chart, Picture
from bot.domain.words import seemly

DOTS_PER_INCH = 120


def drawable(chart: Chart) -> Chart | None:
    """The chart within Slack's limits: finite values, at most 6 series of 20 points.

    None when nothing is left.

    Of more points every n-th is kept, and always the last, so the newest value of a history shows.
    """
    series = tuple(
        (name, values[: len(chart.labels)]) for name, values in chart.series[:SERIES] if values
    )
    length = min((len(values) for _, values in series), default=0)
    good = [
        index
        for index in range(length)
        if all(math.isfinite(values[index]) for _, values in series)
    ]
    step = math.ceil(len(good) / POINTS) or 1
    kept = good[::-1][::step][::-1]
    if not kept:
        return None
    labels = tuple(chart.labels[index] for index in kept)
    thinned = tuple((name, tuple(values[index] for index in kept)) for name, values in series)
    return replace(chart, labels=labels, series=thinned)


def native(chart: Chart) -> DataVisualizationBlock | None:
    """Slack's ``data_visualization`` block; None when the chart has nothing to draw."""
    small = drawable(chart)
    if small is None:
        return None
    labels = distinct(small.labels)
    series = [
        DataSeries(
            name, [DataPoint(label, value) for label, value in zip(labels, values, strict=True)]
        )
        for name, (_, values) in zip(
            distinct([plain(name) for name, _ in small.series]), small.series, strict=True
        )
    ]
    kind = LineChart if chart.kind == "line" else BarChart
    axes = AxisConfig(labels, y_label=cut(plain(chart.unit), TITLE) or None)
    return DataVisualizationBlock(cut(plain(chart.title), TITLE) or "–", kind(series, axes))


def distinct(names: tuple[str, ...] | list[str]) -> list[str]:
    """Names of at most 20 characters, none empty and none twice.

    As Slack wants labels and series.
    """
    found: list[str] = []
    for name in names:
        short = cut(seemly(name), LABEL) or "–"
        number = 2
        while short in found:
            tail = f" {number}"
            short = cut(seemly(name), LABEL - len(tail)) + tail
            number += 1
        found.append(short)
    return found


def draw(chart: Chart) -> Picture:
    """The chart as a PNG of about 960 × 480 pixels."""
    # Imported here: matplotlib costs half a second, and most starts never draw. No pyplot: it is
    # not thread-safe.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.add_subplot()
    places = range(len(chart.labels))
    width = 0.8 / max(len(chart.series), 1)
    for number, (name, values) in enumerate(chart.series):
        label = _escape_dollars(plain(name))
        if chart.kind == "line":
            axes.plot(places[: len(values)], values, label=label, marker="o", markersize=3)
        else:
            shifted = [
                place + (number - (len(chart.series) - 1) / 2) * width
                for place in places[: len(values)]
            ]
            axes.bar(shifted, values, width, label=label)
    step = math.ceil(len(chart.labels) / POINTS) or 1
    ticks = [_escape_dollars(cut(label, LABEL)) for label in chart.labels[::step]]
    axes.set_xticks(places[::step], ticks)
    if len(ticks) > 6:
        figure.autofmt_xdate(rotation=30)
    axes.set_title(_escape_dollars(plain(chart.title)))
    axes.set_ylabel(_escape_dollars(plain(chart.unit)))
    axes.grid(axis="y", alpha=0.3)
    if len(chart.series) > 1:
        axes.legend()
    target = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(target, format="png")
    return Picture(target.getvalue(), alt=chart.summary or chart.title, title=chart.title)


def _escape_dollars(text: str) -> str:
    """Text in which matplotlib sees no formula."""
    return seemly(text).replace("$", r"\$")
