"""The texts that answers are taken from: of a split of the same set, or of a file."""

import csv
import logging
import re
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from medrobust.base.fingerprints import fingerprint
from medrobust.base.once import say_once
from medrobust.base.targets import Texts
from medrobust.base.wording import agreeing, counted, part_of
from medrobust.corruptions.texts import SENTENCE
from medrobust.exceptions import ConfigurationError, DatasetNotFoundError, InvalidDataError
from medrobust.metrics.text_overlap import Words, most_typical, words_of

log = logging.getLogger(__name__)

Findings: TypeAlias = frozenset[str]
"""Labels that an image shows, or that a report goes with."""

FILES = (".txt", ".csv")

KEPT = 64
"""Corpora that a process keeps between the plan of its cells and their answers."""

_planned: OrderedDict[str, "Corpus"] = OrderedDict()


@dataclass(frozen=True, slots=True)
class Corpus:
    """What can be answered; texts that read the same, case and punctuation aside, are one.

    Attributes:
        texts: As written, each the first of those that read the same.
        words: Of each.
        times: How often each was written.
        findings: Labels of each: those that at least half of its images show. None without labels.
    """

    texts: Sequence[str]
    words: Sequence[Words]
    times: Sequence[int]
    findings: Sequence[Findings] | None = None

    @property
    def fingerprint(self) -> str:
        """Of all that decides answers."""
        shown = None if self.findings is None else [sorted(one) for one in self.findings]
        return fingerprint([list(self.texts), list(self.times), shown])

    @property
    def constant(self) -> int:
        """The most typical report: what is said where nobody looks."""
        repeated = [place for place, times in enumerate(self.times) for _ in range(times)]
        return repeated[most_typical([self.words[place] for place in repeated])]

    def sentences(self) -> "Corpus":
        """Return the sentences of all texts, without labels: those of a report are not theirs."""
        both = zip(self.texts, self.times, strict=True)
        return merged((one, n) for text, n in both for one in SENTENCE.split(text.strip()))


def keep(corpus: Corpus) -> str:
    """Keep a corpus that cells were planned with, and return its fingerprint."""
    name = corpus.fingerprint
    _planned[name] = corpus
    while len(_planned) > KEPT:
        _planned.popitem(last=False)
    return name


def planned(name: str) -> Corpus:
    """Return the corpus that cells were planned with: a record names its content and no place.

    Raises:
        ConfigurationError: If this process has planned none with it.
    """
    if name not in _planned:
        raise ConfigurationError(
            "the corpus of a cell is known by its fingerprint alone: plan the cell with "
            "task.corpus as it was before."
        )
    return _planned[name]


def merged(texts: Iterable[tuple[str, int]]) -> Corpus:
    """Make one of texts that read the same; what has no words is left out."""
    place: dict[Words, int] = {}
    firsts: list[str] = []
    times: list[int] = []
    for text, number in texts:
        words = words_of(text)
        if words and place.setdefault(words, len(firsts)) == len(firsts):
            firsts.append(text)
            times.append(0)
        if words:
            times[place[words]] += number
    return Corpus(firsts, list(place), times)


def corpus_of(data: Any, source: str, column: str, *, labels: bool) -> Corpus:
    """Read a corpus.

    Args:
        data: The split that is answered, whose set opens the texts of its other splits.
        source: "train", "val", "test" or another split of the set; or a file that ends in .txt (a
            text a line) or .csv.
        column: Of a CSV file.
        labels: Whether texts need labels, which a file has not.

    Raises:
        ConfigurationError: If there is no such split, no text with a word in it, or no label.
        DatasetNotFoundError: If there is no such file.
        InvalidDataError: If it cannot be read.
    """
    if source.lower().endswith(FILES):
        texts, target = _of_file(Path(source).expanduser(), column), None
    else:
        target = _of_split(data, source)
        texts = target.values.tolist()
    found = merged((text, 1) for text in texts)
    if not found.texts:
        raise ConfigurationError(f"task.corpus={source} has no text with a word in it.")
    empty = sum(not words_of(text) for text in texts)
    if empty:
        told = f"{part_of(empty, len(texts), 'text')} {agreeing(empty, 'is')} empty: left out"
        say_once(log, logging.WARNING, f"the corpus of {data.name}: {told}")
    if len(found.texts) == 1:
        told = "one report alone, which is the answer to every image"
        say_once(log, logging.WARNING, f"the corpus of {data.name} is {told}")
    if source == data.split:
        told = "each image's own report is among the answers: what is found is no prediction"
        say_once(log, logging.WARNING, f"task.corpus={source}: {told}")
    say_once(log, logging.INFO, f"the corpus of {data.name}: {_said(found, len(texts) - empty)}")
    return _labelled(found, target, source) if labels else found


def _said(found: Corpus, texts: int) -> str:
    """Say how large a corpus is.

    Example:
        >>> _said(merged([("Clear.", 1), ("clear", 1), ("Mass.", 1)]), 3)
        '3 texts, 2 of which read differently'
    """
    return f"{counted(texts, 'text')}, {len(found.texts)} of which read differently"


def _of_split(data: Any, split: str) -> Texts:
    """Open the texts of a split, and no picture.

    Raises:
        ConfigurationError: If the data set opens no other split, or has none of that name.
    """
    opens = getattr(data, "texts_of", None)
    if opens is None:
        raise ConfigurationError(
            f"data set {data.name!r} opens no texts of split {split!r}: pass "
            f"task.corpus=FILE.txt, a text a line."
        )
    try:
        texts: Texts = opens(split)
    except (DatasetNotFoundError, LookupError) as error:
        reason = str(error).rstrip(".")
        raise ConfigurationError(
            f"task.corpus={split} is no split of data set {data.name!r} ({reason}): pass another, "
            f"or task.corpus=FILE.txt, a text a line."
        ) from error
    return texts


def _of_file(file: Path, column: str) -> list[str]:
    """Read the texts of a file.

    Raises:
        DatasetNotFoundError: If there is none.
        InvalidDataError: If it is no text of UTF-8, or has no such column.
    """
    if not file.is_file():
        raise DatasetNotFoundError(f"task.corpus: file {file} not found.")
    try:
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidDataError(f"task.corpus: {file.name} cannot be read ({error}).") from error
    if file.suffix.lower() == ".txt":
        return text.splitlines()
    rows = csv.DictReader(re.split(r"(?<=\n)", text))
    names = rows.fieldnames or ()
    if column not in names:
        raise InvalidDataError(
            f"{file.name} has no column {column!r} (task.corpus_column): it has {', '.join(names)}."
        )
    return [row[column] or "" for row in rows]


def _labelled(found: Corpus, target: Texts | None, source: str) -> Corpus:
    """Give each text the labels that at least half of its images show.

    Raises:
        ConfigurationError: If images have none.
    """
    if target is None:
        raise ConfigurationError(
            f"task.labels=true compares the labels of reports, and a file has none: leave it out, "
            f"or take a split of the data set as task.corpus in place of {source}."
        )
    place = {words: number for number, words in enumerate(found.words)}
    images: list[list[int]] = [[] for _ in found.words]
    words = [words_of(text) for text in target.values.tolist()]
    for image, text in target.pairs.tolist():
        if words[text]:
            images[place[words[text]]].append(image)
    shown = findings_of(target)
    findings = [_of_most([shown[image] for image in dict.fromkeys(own)]) for own in images]
    return Corpus(found.texts, found.words, found.times, findings)


def findings_of(target: Texts) -> list[Findings]:
    """Return the labels of each image."""
    assert target.labels is not None
    assert target.label_sets is not None
    sets = [frozenset(one) for one in target.label_sets]
    return [sets[number] for number in target.labels.tolist()]


def _of_most(shown: Sequence[Findings]) -> Findings:
    """Return what at least half of some images show.

    Example:
        >>> sorted(_of_most([frozenset({"edema"}), frozenset({"edema", "mass"}), frozenset()]))
        ['edema']
    """
    counts = Counter(label for own in shown for label in own)
    return frozenset(label for label, number in counts.items() if 2 * number >= len(shown))
