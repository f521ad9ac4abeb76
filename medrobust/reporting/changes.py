"""What corruption changes whether right or wrong: answers that flip, features that move."""

from collections.abc import Sequence

from medrobust.metrics import Estimate

from .figures import with_range
from .markup import details, plain_table
from .matrix import Matrix

CHANGES = {"flip_rate": "changed answers, %", "feature_drift": "feature drift"}
"""Aggregate of a column -> what people call it."""

EXPLAINED = {
    "flip_rate": "Changed answers: images whose answer differs from that on the clean image, to "
    "the right one too. ",
    "feature_drift": "Feature drift: the mean over images of one minus the cosine between the "
    "features of the clean and the corrupted image, 0 where nothing moves. ",
}
"""What a column means, where it is shown."""


def changes_html(matrix: Matrix) -> str:
    """Write a line a corruption and model; drift stands there where features were kept."""
    found = {
        (one.name, one.row, one.corruption): one.estimate
        for one in matrix.aggregates
        if one.name in CHANGES
    }
    shown = [name for name in CHANGES if any(key[0] == name for key in found)]
    lines = []
    for corruption in matrix.table.corruptions:
        for row, line in enumerate(matrix.rows):
            cells = [found.get((name, row, corruption), Estimate(None)) for name in shown]
            if any(one.value is not None for one in cells):
                lines.append((corruption, line.marked, *_texts(shown, cells)))
    if not lines:
        return ""
    head = ("corruption", "model", *(CHANGES[name] for name in shown))
    title = " and ".join(CHANGES[name].removesuffix(", %") for name in shown)
    told = "".join(EXPLAINED[name] for name in shown)
    note = f'<p class="soft small">{told}In brackets: 95 % intervals.</p>'
    return details(title[0].upper() + title[1:], note + plain_table(head, lines, tight=True))


def _texts(names: Sequence[str], cells: Sequence[Estimate]) -> list[str]:
    return [
        _plain(one) if name == "feature_drift" else with_range(one)
        for name, one in zip(names, cells, strict=True)
    ]


def _plain(found: Estimate) -> str:
    if found.value is None:
        return "–"
    bounds = "" if found.low is None else f" ({found.low:.3f}–{found.high:.3f})"
    return f"{found.value:.3f}{bounds}"
