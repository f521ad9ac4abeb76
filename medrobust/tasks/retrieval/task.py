"""Retrieval as a task: ranks in, recalls, ranks and precision out."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

from medrobust.base.fingerprints import fingerprint
from medrobust.base.once import say_once
from medrobust.base.targets import Texts
from medrobust.base.wording import agreeing, part_of
from medrobust.corruptions.texts import TextCorruption
from medrobust.exceptions import ConfigurationError
from medrobust.tasks.base import (
    ArraySpec,
    Cell,
    Head,
    HeadDescription,
    ModelSide,
    Scores,
    Section,
    Table,
    Task,
)
from medrobust.tasks.text_side import cut_texts, text_model

from . import scores
from .relevance import Rule, check_rule, relevance
from .sections import CORRUPTED, sections

log = logging.getLogger(__name__)

AS_GIVEN = "texts as given"
"""Name of the row beside rows of corrupted texts."""

PURPOSE = "match images with texts"

TUNES = "tunes"
"""Key of a head that an adapter is tuned with."""

CELL = MappingProxyType(
    {
        f"{asks}_{name}": ArraySpec(dtype, (asks, *further))
        for asks in ("image", "text")
        for name, dtype, further in (
            ("rank", "int32", ()),
            ("average_precision", "float32", ()),
            ("hits", "int32", (len(scores.CUTS),)),
            ("right", "int32", ()),
        )
    }
)
"""What a cell holds: ranks from 1 (0 for a text of no image), and never a similarity."""


class Retrieval(Task):
    """Find the report of each image among all reports, and the image of each report.

    Equal similarities count against the model: a right answer stands behind all wrong ones that
    are as similar to within 1e-6.

    Args:
        relevance: What makes a text the right one: "text", that it reads as one that was given for
            the image; "normalized", whatever its case, punctuation and white space; "pair", that
            it was given for that image, however many others read the same; "labels", that an image
            with the same labels has it.
        text_corruption: What texts are corrupted by, beside a row for them as they are; None: by
            nothing. Which text is right is decided before.

    Raises:
        UnknownNameError: If there is no such rule.
    """

    kind = "retrieval"
    level = "image"
    reads_prompts = False
    target = "texts"
    arrays = CELL
    metrics = scores.METRICS
    losses = scores.LOSSES
    offered = tuple(scores.METRICS)

    def __init__(
        self, relevance: Rule = "text", text_corruption: TextCorruption | None = None
    ) -> None:
        check_rule(relevance)
        self.text_corruption = text_corruption
        self.relevance = relevance
        self.target = "texts and labels" if relevance == "labels" else "texts"

    def heads(self, data: Any, side: ModelSide) -> Sequence[HeadDescription]:
        """Say what is looked for: the texts of the split, by the rule.

        Raises:
            ConfigurationError: If the split has no texts, one of them is empty, or the model reads
                none.
        """
        if not isinstance(data.target, Texts):
            raise ConfigurationError(
                f"task=retrieval needs a text of each image, and data set {data.name!r} has none."
            )
        check_texts(data)
        if self.relevance == "pair" and data.target.merged:
            raise ConfigurationError(
                f"task.relevance=pair needs to know whose report each is, and data set "
                f"{data.name!r} took reports that read the same for one: name the column of the "
                f"studies (dataset.study_column=study; the images' own ids, if each has a report "
                f"of its own), or take task.relevance=text."
            )
        model = text_model(side, PURPOSE)
        judged = relevance(data.target, self.relevance)
        if len(judged.candidates) == 1:
            told = f"{data.name} has one text alone, which every image finds"
            say_once(log, logging.WARNING, told)
        texts = [judged.candidates.tolist(), judged.of_text.tolist(), judged.pairs.tolist()]
        if judged.labels is not None:
            texts.append(judged.labels.tolist())
        plain = {
            "kind": self.kind,
            "relevance": self.relevance,
            "candidates": len(judged.candidates),
            "texts": fingerprint(texts),
        }
        corrupted = self.text_corruption
        if corrupted is None:
            return [plain | cut_texts(model, texts[0])]
        rows = [
            plain
            | {"name": f"{corrupted.name} {level}", CORRUPTED: corrupted.identity(level)}
            | cut_texts(model, [corrupted(text, level) for text in texts[0]])
            for level in corrupted.severities
        ]
        return [plain | {"name": AS_GIVEN} | cut_texts(model, texts[0]), *rows]

    def head(self, side: ModelSide, description: HeadDescription, data: Any) -> Head:
        """Encode the texts of the split, once."""
        from .head import RankHead, TunedTexts

        model = text_model(side, PURPOSE)
        if description.get(TUNES):
            return TunedTexts(model, data)
        change, name = _change(description), description.get("name", "")
        return RankHead(model, data, description["relevance"], change, name)

    def head_name(self, head: HeadDescription) -> str:
        """Name what corrupts texts; a store that was begun without that has texts as given, too."""
        return str(head.get("name", AS_GIVEN))

    def head_detail(self, head: HeadDescription) -> str:
        """Name the rule by which a text is right."""
        return str(head.get("relevance", ""))

    def tuned_head(self, data: Any, side: ModelSide, *, trains_head: bool) -> HeadDescription:
        """Say which texts images are put beside while an adapter is tuned: their own.

        Raises:
            ConfigurationError: If a head is to be trained, or the images have no texts.
        """
        if trains_head:
            raise ConfigurationError(
                f"task={self.kind} has no classes that a probe could tell: choose another adapter."
            )
        assert isinstance(data.target, Texts)
        check_texts(data)
        texts = fingerprint([data.target.values.tolist(), data.target.pairs.tolist()])
        return {"kind": self.kind, TUNES: True, "texts": texts}

    def scores(self, cell: Cell, fitted: Any = None) -> Scores:
        """Compute numbers and terms, as `scores.scores` has it."""
        return scores.scores(cell)

    def sections(self, matrix: Table) -> Sequence[Section]:
        """Return recall relative to clean images and to texts as given."""
        return sections(matrix)

    def collapsed(self, cell: Cell) -> str | None:
        """Name similarities that are the same for every pair."""
        return scores.collapsed(cell)


def _change(description: HeadDescription) -> Callable[[str], str] | None:
    """Return what corrupts a text, as a head describes it; None if nothing does."""
    said = description.get(CORRUPTED)
    if said is None:
        return None
    corruption = TextCorruption(said["name"], (said["severity"],), said["seed"])
    return partial(corruption, severity=said["severity"])


def check_texts(data: Any) -> None:
    """Refuse texts that say nothing.

    Raises:
        ConfigurationError: Saying how many.
    """
    empty = sum(not text.strip() for text in data.target.values.tolist())
    if empty:
        raise ConfigurationError(
            f"{part_of(empty, len(data.target.values), 'text')} of data set {data.name!r} "
            f"{agreeing(empty, 'is')} empty, and no image can be told by an empty text: leave "
            f"such rows out."
        )


TASK = Retrieval()
