"""Read the documentation as a user does: its commands, its code, its links.

A comment before a block says what a test does with it:

    <!-- not run: REASON -->            neither run nor composed
    <!-- run in a copy -->              run where the pieces of its page have been put in place
    <!-- file: PATH -->                 is this file
    <!-- end of: PATH -->               stands at the end of this file
    <!-- below: PATH: LINE -->          stands below the first line that holds this text,
                                        as far in as that line
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHELL = ("bash", "console", "sh")
STARTS = ("python ", "medrobust ", "make ", "torchrun ", "srun ", "sbatch ", "pip install ")
FENCE = re.compile(
    r"(?:<!-- (?P<mark>.*?) -->\n)?^ *```(?P<language>[^\n]*)\n(?P<text>.*?)^ *```", re.M | re.S
)


@dataclass(frozen=True)
class Block:
    """A fenced block and the comment before it."""

    page: str
    language: str
    text: str
    mark: str


@dataclass(frozen=True)
class Command:
    """One command of a page, as it stands."""

    page: str
    text: str
    mark: str = ""

    @property
    def words(self) -> list[str]:
        """As a shell reads it, without comments, places to fill in, and where output goes."""
        words = shlex.split(self.text, comments=True)
        for sign in (">", "|", "&&"):
            words = words[: words.index(sign)] if sign in words else words
        return [word for word in words if word not in ("…", "...")]


def pages() -> list[Path]:
    """List README, CHANGELOG and every page of docs/."""
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """List the fenced blocks of a page."""
    name = page.relative_to(ROOT).as_posix()
    return [
        Block(name, found["language"], found["text"], found["mark"] or "")
        for found in FENCE.finditer(page.read_text(encoding="utf-8"))
    ]


def commands() -> Iterator[Command]:
    """Yield every command of every page: in shell blocks, in indented lines, in running text."""
    for page in pages():
        for block in blocks(page):
            if block.language in SHELL:
                for line in block.text.replace("\\\n", " ").splitlines():
                    if line.strip() and not line.startswith("#"):
                        yield Command(block.page, line.removeprefix("$ "), block.mark)
        rest = FENCE.sub("", page.read_text(encoding="utf-8"))
        lines = re.findall(r"^ {4,}(\S.*)$", rest, re.M)
        inline = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", rest)
        for text in [*lines, *inline]:
            if text.startswith(STARTS):
                yield Command(page.relative_to(ROOT).as_posix(), text)
