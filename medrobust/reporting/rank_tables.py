"""Where models stand, and how they differ: ranks by each loss, and pairs compared."""

from collections.abc import Iterable, Mapping, Sequence

from medrobust.metrics.estimates import Metric, written

from .by_metric import mean
from .compare import Standing
from .figures import with_range
from .markup import by_metric, details, plain_table
from .matrix import Matrix

ALL_PAIRS = 12
"""Models up to which every pair is shown on the page; of more, those with the best one."""

PAIRS = (
    '<p class="soft small">A vs B: the error of A minus the error of B on the same '
    "images{unit}. Below 0, A errs less and is better; of the AUC, above 0. 95 %: the interval of "
    'that difference. Images "mean": over all corruptions and severities. Family: below .05, '
    "the chance of any false finding among all pairs of this number is below 5 %; "
    "Benjamini–Hochberg bounds the share of false findings. Plain and balanced error may "
    "differ by as much and yet have other p-values: plain error counts every image the same, "
    "balanced error every class, so that rare classes weigh more and chance moves it more.</p>"
)


def unit_of_differences(metrics: Iterable[Metric]) -> str:
    """Say in what unit differences of these metrics are printed.

    Example:
        >>> share, plain = Metric("error", False), Metric("NIQE", False, share=False)
        >>> unit_of_differences([share]), unit_of_differences([plain])
        (', in points', '')
        >>> unit_of_differences([share, plain])
        ', of shares in points'
    """
    shares = {metric.share for metric in metrics}
    if shares == {True}:
        return ", in points"
    return ", of shares in points" if True in shares else ""


def ranks_html(matrix: Matrix, ranks: Mapping[str, Sequence[Standing]]) -> str:
    """Write the ranks by each loss; a page shows those by the chosen one."""
    tables = {of: _ranks(matrix, of, found) for of, found in ranks.items()}
    if not any(tables.values()):
        return ""
    none = "No ranks: {metric} is no mean over images, and no area, that chance could be told from."
    return "<h3>Ranks, and those that the pairs leave open</h3>\n" + by_metric(
        tables, matrix.shown, none=none
    )


def _ranks(matrix: Matrix, of: str, standings: Sequence[Standing]) -> str:
    if not any(standing.rank for standing in standings):
        return ""
    metric = matrix.task.metrics[of]
    with_effective = any(standing.effective is not None for standing in standings)
    lines = []
    for row in in_rank_order(standings):
        standing = standings[row]
        rank = "–" if standing.rank is None else f"{standing.rank} ({standing.low}–{standing.high})"
        line = [
            rank,
            matrix.rows[row].marked,
            with_range(mean(matrix, of, row), share=metric.share),
        ]
        if with_effective:
            line.append(written(standing.effective, share=metric.share, sign="+"))
        lines.append(line)
    head = ["rank", "model", f"mean {metric.title}{metric.percent_sign}"]
    head += [f"effective robustness{', points' if metric.share else ''}"] if with_effective else []
    return plain_table(head, lines, tight=True)


def in_rank_order(standings: Sequence[Standing]) -> list[int]:
    """Return the rows of a table, the best first and those without a rank last."""
    last = len(standings) + 1
    return sorted(range(len(standings)), key=lambda row: standings[row].rank or last)


def comparisons_html(
    matrix: Matrix, standings: Sequence[Standing], rows: Sequence[dict[str, str]]
) -> str:
    """Write pairs of models, by every loss; of many models those with the best one."""
    if not rows:
        return ""
    best = None
    if len(matrix.rows) > ALL_PAIRS and any(standing.rank for standing in standings):
        best = matrix.rows[in_rank_order(standings)[0]].label
    lines = [
        (
            f"{row['first']} vs {row['second']}",
            row["condition"],
            matrix.task.metrics[row["of"]].title,
            *_difference(row, share=matrix.task.metrics[row["of"]].share),
            *(p_value(row[name]) for name in ("p", "p_familywise", "p_bh")),
            "; ".join(part for part in (row["test"], row["reason"]) if part),
        )
        for row in rows
        if best is None or best in (row["first"], row["second"])
    ]
    head = ("pair", "images", "of", "difference", "95 %", "p", "p, family", "p, BH", "test")
    compared = [matrix.task.metrics[of] for of in {row["of"]: None for row in rows}]
    note = PAIRS.replace("{unit}", unit_of_differences(compared))
    if best is not None:
        note += (
            '<p class="soft small">Pairs with the model of rank 1 are shown, all pairs are in '
            "comparisons.csv: the p-values are corrected for all, so for the choice, too.</p>"
        )
    return details("Pairs of models compared", note + plain_table(head, lines, tight=True))


def _difference(row: Mapping[str, str], *, share: bool) -> tuple[str, str]:
    """Print a difference and its interval, of shares in points."""
    by, *ends = (
        written(float(row[name]) if row[name] else None, share=share, sign="+")
        for name in ("difference", "low", "high")
    )
    return by, " to ".join(ends) if row["low"] else "–"


def p_value(text: str) -> str:
    """Print a p-value with three digits, never as 0; a dash where there is none."""
    if not text:
        return "–"
    value = float(text)
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
