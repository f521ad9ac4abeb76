"""What a page shows of a classifier alone: recall of classes, their texts, and reliability."""

from collections.abc import Sequence
from html import escape

import numpy as np

from medrobust.base.wording import agreeing, counted
from medrobust.metrics.aggregates import group_codes
from medrobust.metrics.calibration import BINS, confidences
from medrobust.metrics.intervals import share_interval
from medrobust.metrics.reliability_points import (
    ReliabilityPoint,
    calibration_gap,
    reliability_points,
)
from medrobust.reporting.markup import details, plain_table
from medrobust.reporting.reliability import ReliabilityPanel, reliability_svg
from medrobust.tasks.base import Cell, HeadDescription, Table, Terms

from .heads import GUIDANCE, ITSELF, PROBE
from .scores import answers_of

MOST_TEXTS = 3
"""Sentences of one class that are shown; of more, the first and how many there are."""

MOST_LINES = 7
"""Models in a reliability diagram."""

WITHOUT_TEXTS = {PROBE: "no texts: a trained probe", ITSELF: "no texts: its own classifier"}


def classes(matrix: Table) -> str:
    """Show the recall of each class on clean and on corrupted images."""
    lines = []
    counts = matrix.data.class_counts
    for row, line in enumerate(matrix.rows):
        conditions = [matrix.mean_terms(row, of, "balanced_error") for of in ("clean", "mean")]
        if conditions == [None, None]:
            continue
        for k, name in enumerate(matrix.data.class_names):
            cells = [_recall(matrix, wrong, k) for wrong in conditions]
            lines.append((line.label, name, str(counts[k]), *cells))
    if not lines:
        return ""
    units = agreeing(2, matrix.data.unit)
    head = ("model", "class", units, "recall, clean", "recall, corrupted")
    return details("Classes", plain_table(head, lines, tight=True))


def _recall(matrix: Table, wrong: Terms | None, k: int) -> str:
    labels = matrix.data.labels
    own = labels[:, k] == 1 if labels.ndim == 2 else labels == k
    if wrong is None or not own.any():
        return "–"
    terms = 1 - (wrong.values[own, k] if labels.ndim == 2 else wrong.values[own])
    codes = group_codes(matrix.data.groups)
    low, high = share_interval(terms, None if codes is None else codes[own])
    return f"{100 * terms.mean():.1f} ({100 * low:.1f}–{100 * high:.1f})"


def class_texts(matrix: Table) -> str:
    """Show the sentences that each class was told by, once for all models that share them."""
    found: dict[str, tuple[list[str], HeadDescription]] = {}
    for row, line in enumerate(matrix.rows):
        cells = matrix.cells_at(row, 0)
        if cells:
            head = cells[0].head
            keys = ("kind", "texts", "absent", GUIDANCE)
            decides = repr([head.get(key) for key in keys])
            found.setdefault(decides, ([], head))[0].append(line.label)
    lines = [
        (", ".join(labels), name, *line)
        for labels, head in found.values()
        for name, side in _sides(head)
        for line in _texts(matrix, side)
    ]
    if not lines:
        return ""
    head_ = ("models", "prompts", "class", "texts", "texts that deny it")
    shown = head_ if any(line[-1] for line in lines) else head_[:-1]
    cut = [line[: len(shown)] for line in lines]
    return details("Class texts", plain_table(shown, cut))


def _sides(head: HeadDescription) -> list[tuple[str, HeadDescription]]:
    """Return the texts of a head, and those that it is pushed away from, each with a name."""
    name = str(head.get("name", ""))
    if GUIDANCE not in head:
        return [(name, head)]
    return [(name, head), (f"{name}: γ = {head[GUIDANCE]['gamma']:g}, away from", head[GUIDANCE])]


def _texts(matrix: Table, head: HeadDescription) -> list[tuple[str, str, str]]:
    texts, absent = head.get("texts"), head.get("absent") or ()
    if not texts:
        return [("all", WITHOUT_TEXTS.get(str(head.get("kind")), "no texts"), "")]
    names = matrix.data.class_names
    denied = [*absent, *[()] * (len(names) - len(absent))]
    return [
        (name, _few(own), _few(no)) for name, own, no in zip(names, texts, denied, strict=False)
    ]


def _few(texts: Sequence[str]) -> str:
    shown = [f"“{text}”" for text in texts[:MOST_TEXTS]]
    more = len(texts) - len(shown)
    return " · ".join([*shown, *([f"and {counted(more, 'further text')}"] if more else [])])


def reliability_diagram(matrix: Table) -> str:
    """Draw how often answers of one confidence are right, clean and at the highest severity."""
    levels = [0, *matrix.severities[-1:]]
    panels = [
        ReliabilityPanel("clean" if level == 0 else f"severity {level}", curves)
        for level in levels
        if (curves := _curves(matrix, level))
    ]
    if not panels:
        return ""
    gaps = [
        (name, panel.title, f"{100 * calibration_gap(bins):.1f}")
        for panel in panels
        for name, bins in panel.curves
    ]
    note = (
        f'<p class="soft small">A mark: answers whose confidence lies in one of {BINS} bins of '
        "equal width, larger where they are more; lines up and down: 95 % intervals. Below the "
        "dotted line a model is surer than it is right. The mean distance of answers from that "
        "line is the expected calibration error; several corruptions are taken together here, and "
        "so are labels.</p>"
    )
    label = "Share of right answers over confidence, a panel for clean and for corrupted images"
    drawn = reliability_svg(panels, f"{matrix.data.fingerprint} {matrix.name}")
    table = plain_table(("model", "images", "mean distance, %"), gaps, tight=True)
    return details(
        "Reliability",
        f'{note}<div class="reliability" role="img" aria-label="{escape(label)}">{drawn}</div>'
        f"{table}",
    )


def _curves(matrix: Table, level: int) -> list[tuple[str, list[ReliabilityPoint]]]:
    rows = list(enumerate(matrix.rows))[:MOST_LINES]
    found = [(line.label, matrix.cells_at(row, level)) for row, line in rows]
    return [(name, _bins(cells)) for name, cells in found if cells and _thresholded(cells)]


def _thresholded(cells: Sequence[Cell]) -> bool:
    return all(answers_of(cell).thresholded for cell in cells)


def _bins(cells: Sequence[Cell]) -> list[ReliabilityPoint]:
    """Sort the answers of cells of the same images; those of one image or patient are one unit."""
    given = [answers_of(cell) for cell in cells]
    units = given[0].groups
    own = np.arange(len(given[0].labels)) if units is None else units
    pairs = [pair for one in given for pair in confidences(one.chances, one.labels, one.label_kind)]
    confidence, right = (np.concatenate(side) for side in zip(*pairs, strict=True))
    alone = units is None and len(pairs) == 1
    return reliability_points(confidence, right, None if alone else np.tile(own, len(pairs)))
