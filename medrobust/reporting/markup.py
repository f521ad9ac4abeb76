"""Pieces of HTML that every part of a page is written with, tasks' own parts too."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape


def breakable(name: str) -> str:
    """Let a browser break a name at its underscores."""
    return escape(name).replace("_", "_<wbr>")


def plain_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, tight: bool = False
) -> str:
    """Write a table without colors; a tight one scrolls sideways rather than break lines."""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    lines = "".join(
        "<tr>" + "".join(f"<td>{escape(str(value))}</td>" for value in row) + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll"><table class="plain{" tight" if tight else ""}">'
        f"<thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def details(summary: str, content: str, *, shown: bool = False) -> str:
    """Write a part that opens on demand, or one that is open until it is closed."""
    opened = " open" if shown else ""
    return f"<details{opened}><summary>{escape(summary)}</summary>{content}</details>"


def by_metric(parts: Mapping[str, str], shown: str, *, none: str = "") -> str:
    """Write a part for each metric: one is seen, the page's switch shows another.

    Args:
        parts: Metric -> HTML; an empty text is left out.
        shown: Metric that is seen first, and without JavaScript alone.
        none: Sentence for a metric that has no part; "{metric}" stands for its title.
    """
    each = "".join(
        f'<div data-of="{escape(of)}"{" data-first" if of == shown else " hidden"}>{part}</div>'
        for of, part in parts.items()
        if part
    )
    return f'<div data-by-metric data-none="{escape(none)}">{each}</div>'
