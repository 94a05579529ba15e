"""The matrix of all pairs as a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence

from bot.domain.readiness import Severity
from plugins.host_check.findings import PairReport

# Colours that differ in brightness too; every cell says its verdict in words besides.
_COLOURS = {
    Severity.PASS: "#2e7d32",
    Severity.WARN: "#f9a825",
    Severity.FAIL: "#b71c1c",
    Severity.UNKNOWN: "#9e9e9e",
}
_NONE = "#eceff1"
_MOST_NAMED = 3  # lines that a cell of the picture holds
_FEW = 4  # hosts, in whose cells there is room for larger letters


def draw_matrix(reports: Sequence[PairReport]) -> bytes:
    """A PNG: sources as rows, targets as columns; a cell has the worst verdict and its check."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    hosts = list(
        dict.fromkeys([each.source for each in reports] + [each.target for each in reports])
    )
    cells = {(each.source, each.target): each for each in reports}
    count = len(hosts)
    figure = Figure(figsize=(2.2 + 1.5 * count, 1.0 + 0.95 * count), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for row, source in enumerate(hosts):
        for column, target in enumerate(hosts):
            report = cells.get((source, target))
            colour = _COLOURS[report.worst] if report else _NONE
            axes.add_patch(Rectangle((column - 0.48, row - 0.46), 0.96, 0.92, color=colour))
            if report:
                dark = report.worst in {Severity.WARN, Severity.UNKNOWN}
                axes.text(
                    column,
                    row,
                    cell_text(report),
                    ha="center",
                    va="center",
                    fontsize=10 if count <= _FEW else 8,
                    color="black" if dark else "white",
                )
    axes.set_xlim(-0.5, count - 0.5)
    axes.set_ylim(count - 0.5, -0.5)
    axes.set_xticks(range(count), [f"to {name}" for name in hosts], rotation=0 if count < 6 else 45)
    axes.set_yticks(range(count), [f"from {name}" for name in hosts])
    axes.tick_params(
        length=0, labelsize=9, top=True, labeltop=True, bottom=False, labelbottom=False
    )
    axes.set_frame_on(False)
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()


def cell_text(report: PairReport) -> str:
    """What stands in a cell."""
    names = [each.name for each in report.grounds]
    more = [f"+{len(names) - _MOST_NAMED}"] if len(names) > _MOST_NAMED else []
    return "\n".join([str(report.worst), *names[:_MOST_NAMED], *more])
