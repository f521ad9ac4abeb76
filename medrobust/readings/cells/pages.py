"""The part of a page that a reading of rows fills: matrix by matrix, then what is left out."""

from collections.abc import Callable, Sequence
from html import escape
from typing import Protocol, TypeVar

from medrobust.reporting.matrix import Matrix

from .rows import RowCells


class OfRow(Protocol):
    """What a reading has found of one row."""

    @property
    def row(self) -> RowCells:
        """Its cells."""
        ...


Found = TypeVar("Found", bound=OfRow)


def part_of_page(
    title: str,
    about: str,
    found: Sequence[Found],
    left_out: Sequence[str],
    of_matrix: Callable[[Matrix, Sequence[Found]], str],
) -> str:
    """Write what a reading says of a report.

    Args:
        title: Heading; its first word, in small letters, is the name that links lead to.
        about: HTML of the paragraph below it.
        found: One a row, in the order of the page.
        left_out: Sentences on rows of which nothing is said.
        of_matrix: Writes the rows of one matrix.
    """
    name = title.split()[0].lower()
    matrices = {id(one.row.matrix): one.row.matrix for one in found}.values()
    parts = [of_matrix(m, [one for one in found if one.row.matrix is m]) for m in matrices]
    items = "".join(f"<li>{escape(why)}</li>" for why in left_out)
    return (
        f'\n<section aria-labelledby="{name}"><h2 id="{name}">{title}</h2>'
        f'<p class="soft small">{about}</p>{"".join(parts)}'
        f"{f'<ul class=small>{items}</ul>' if items else ''}</section>"
    )
