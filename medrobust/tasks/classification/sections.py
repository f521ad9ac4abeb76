"""What a page shows of a classifier alone: the recall of each class."""

from medrobust.metrics.aggregates import group_codes
from medrobust.metrics.intervals import share_interval
from medrobust.reporting.markup import details, plain_table
from medrobust.tasks.base import Table, Terms


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
    head = ("model", "class", "images", "recall, clean", "recall, corrupted")
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
