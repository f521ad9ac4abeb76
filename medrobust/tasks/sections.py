"""Parts of a page that tasks and readings bring, and the tables of a terminal."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from medrobust.base.csv_text import Why
from medrobust.types import UInt8Array


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table as a terminal shows it.

    Attributes:
        title: What stands above it.
        heads: Names of its columns.
        rows: Texts, a row as many as there are columns.
        note: What stands below it.
    """

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


def text_tables(
    tables: Sequence[tuple[str, Sequence[str], Sequence[Sequence[str]]]], note: str
) -> list[TextTable]:
    """Make tables of titles, heads and rows, with one note below all of them."""
    last = len(tables) - 1
    return [TextTable(*table, note if place == last else "") for place, table in enumerate(tables)]


@dataclass(frozen=True, slots=True)
class MaskedPicture:
    """A picture and masks that can be laid over it, one at a time or both.

    Attributes:
        caption: Below it.
        picture: PNG or JPEG.
        masks: What a mask is, as "truth" -> uint8 (H, W), of the size of the picture.
        classes: What their numbers stand for, from 0.
    """

    caption: str
    picture: bytes
    masks: Mapping[str, UInt8Array]
    classes: Sequence[str]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page, and the files beside it that hold its numbers.

    A task brings sections of one matrix, a reading one of the whole report.

    Attributes:
        title: What it is called.
        order: Where it stands: sections go up by it.
        html: What the page shows; an empty text shows nothing.
        files: Name -> content of what is written beside the page; Markdown is printed, too, where
            there are no tables.
        rows: Name of a file -> what a row of it is, for the list at the foot of the page.
        curves: Name of a file -> (x, y, by) of its columns that are drawn over each other by W&B.
        tables: What a terminal shows.
        empty: Name of a file -> column -> why a number of it is empty, where one is; the `note` of
            a row, if there is one, says it better.
        doubts: Name of a file -> line of it, its heading being line 1 -> columns of an interval
            that holds less often than it says, and why.
        pictures: What W&B shows where pictures are asked for: name -> captions and JPEG or PNG.
        masked: What W&B shows with masks to be switched where pictures are asked for: name -> what
            gives them.
        shows: What its numbers are, whatever metric a reader of the page chooses; empty: they
            follow that choice, or are no metric of images.
    """

    title: str
    order: int
    html: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)
    rows: Mapping[str, str] = field(default_factory=dict)
    curves: Mapping[str, Sequence[tuple[str, str, str]]] = field(default_factory=dict)
    tables: Sequence[TextTable] = ()
    empty: Mapping[str, Mapping[str, Why]] = field(default_factory=dict)
    doubts: Mapping[str, Mapping[int, tuple[str, str]]] = field(default_factory=dict)
    pictures: Mapping[str, Sequence[tuple[str, bytes]]] = field(default_factory=dict)
    masked: Mapping[str, Callable[[], Iterable[MaskedPicture]]] = field(default_factory=dict)
    shows: str = ""


def joined(sections: Iterable[Section]) -> Section:
    r"""Join what sections of several matrices write: tables of one name are one table.

    Args:
        sections: Their tables of one name have the same columns, and rows that name their matrix.

    Example:
        >>> parts = [Section("", 0, files={"a.csv": text}) for text in (b"x\n1\n", b"x\n2\n")]
        >>> joined(parts).files["a.csv"]
        b'x\n1\n2\n'
    """
    files: dict[str, bytes] = {}
    rows: dict[str, str] = {}
    curves: dict[str, Sequence[tuple[str, str, str]]] = {}
    empty: dict[str, Mapping[str, Why]] = {}
    for section in sections:
        for name, content in section.files.items():
            head, _, lines = content.partition(b"\n")
            known = files.get(name, head + b"\n")
            assert known.startswith(head + b"\n"), f"{name} has other columns in another matrix"
            files[name] = known + lines
        rows |= section.rows
        curves |= section.curves
        empty |= section.empty
        assert not section.doubts, "lines of tables that are joined have other numbers"
    return Section("", 0, files=files, rows=rows, curves=curves, empty=empty)


def in_order(sections: Iterable[Section]) -> list[Section]:
    """Sort sections as they stand on a page."""
    return sorted(sections, key=lambda section: section.order)
