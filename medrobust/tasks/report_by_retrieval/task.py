"""Reports by retrieval as a task: the corpus text most like an image in, overlap with reports out.

The use of CXR-RePaiR (Endo et al., ML4H 2021): a model that matches images with reports writes one
by answering with that of another patient.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from medrobust.base.fingerprints import fingerprint
from medrobust.base.given import check_name, check_switch, check_whole, names_given
from medrobust.base.targets import Texts
from medrobust.base.wording import agreeing, counted, part_of
from medrobust.exceptions import ConfigurationError, unknown_name
from medrobust.metrics.text_overlap import ORDER, words_of
from medrobust.tasks.base import (
    ONE_ANSWER,
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
from medrobust.tasks.text_sections import cut_texts_note
from medrobust.tasks.text_side import cut_texts, text_model

from . import scores
from .corpus import Corpus, corpus_of, findings_of, keep, planned
from .labels import labelled, labeller

if TYPE_CHECKING:
    from medrobust.models.chexbert import Uncertain

PURPOSE = "find a report for an image"

CONSTANT = "constant report"
"""Name of the row that answers every image with the most typical report of the corpus."""

BEST = "best match"

VERSION = 1
"""Raised whenever the same texts get other numbers."""

CELL: Mapping[str, ArraySpec] = MappingProxyType(
    {
        "answer": ArraySpec("int32", ("image", "part")),
        "runs_found": ArraySpec("int32", ("image", ORDER)),
        "runs": ArraySpec("int32", ("image", ORDER)),
        "nearest_length": ArraySpec("int32", ("image",)),
        "rouge_l": ArraySpec("float32", ("image",)),
        "cider_d": ArraySpec("float32", ("image",)),
        "findings": ArraySpec("int32", ("image", 3)),
    }
)
"""What a cell holds: places in the corpus and counts, and never a word."""


class ReportByRetrieval(Task):
    """Answer each image with the text of a corpus that the model finds most like it.

    Args:
        corpus: A split of the data set, whose texts are looked through ("train"), or a file of
            texts that ends in .txt (a text a line) or .csv.
        corpus_column: Column of a CSV file.
        sentences: None: the one report that is most like the image. A number: so many sentences of
            the corpus, the most like one first.
        labels: Whether labels of the report that was found are compared with those of the image.
        labeller: Folder of CheXbert, which then reads these labels in both reports.
        uncertain: Whether a finding that CheXbert calls uncertain counts: "negative", "positive".
        compared: Names of the labels that count; None: all.
        baseline: Whether a row answers every image with the most typical report of the corpus.
        text_corruption: Refused: texts are answers here, and are given as they were written.

    Raises:
        ConfigurationError: If sentences are to have labels, or are none, or texts to be corrupted.
    """

    kind = "report_by_retrieval"
    level = "image"
    reads_prompts = False
    target = "texts"
    arrays = CELL
    metrics = scores.METRICS
    losses = scores.LOSSES
    offered = tuple(scores.METRICS)

    def __init__(
        self,
        corpus: str = "train",
        corpus_column: str = "report",
        sentences: int | None = None,
        labels: bool = False,
        labeller: str | None = None,
        uncertain: "Uncertain" = "negative",
        compared: Sequence[str] | None = None,
        baseline: bool = True,
        text_corruption: object = None,
    ) -> None:
        if text_corruption is not None:
            raise ConfigurationError(
                "text_corruption changes what a model reads of reports that it ranks: take "
                "task=retrieval, or leave text_corruption out."
            )
        check_name("task.corpus", corpus)
        check_name("task.corpus_column", corpus_column)
        check_name("task.labeller", labeller, null="no labeller")
        check_switch("task.labels", labels)
        check_switch("task.baseline", baseline)
        check_whole("task.sentences", sentences, null="one whole report")
        if sentences is not None and labels:
            raise ConfigurationError(
                "task.labels=true compares the labels of whole reports, and a sentence has none of "
                "its own: leave task.labels or task.sentences out."
            )
        if uncertain not in ("negative", "positive"):
            raise ConfigurationError(
                f"task.uncertain={uncertain!r} is no negative and no positive."
            )
        if compared is not None:
            compared = names_given("task.compared", compared)
        if compared is not None and not (labels and compared):
            raise ConfigurationError(
                "task.compared names labels that count: name some, and pass task.labels=true."
            )
        if labeller is not None and not labels:
            raise ConfigurationError(
                "task.labeller reads labels that nobody compares: pass task.labels=true, or leave "
                "it out."
            )
        self._labeller, self._uncertain = labeller, uncertain
        self._compared = None if compared is None else list(compared)
        self._corpus, self._column = corpus, corpus_column
        self._sentences, self._labels, self._baseline = sentences, labels, baseline
        self.target = "texts and labels" if labels and labeller is None else "texts"

    def heads(self, data: Any, side: ModelSide) -> Sequence[HeadDescription]:
        """Say what is looked through, and what answers are compared with.

        Raises:
            ConfigurationError: If the split has no texts, one of them has no words, the corpus has
                too few, or the model reads none.
        """
        if not isinstance(data.target, Texts):
            raise ConfigurationError(
                f"task={self.kind} needs a report of each image, and data set {data.name!r} has "
                f"none."
            )
        _check_reports(data)
        model = text_model(side, PURPOSE)
        of_images = self._labels and self._labeller is None
        corpus = corpus_of(data, self._corpus, self._column, labels=of_images)
        texts = [data.target.values.tolist(), data.target.pairs.tolist()]
        if of_images:
            texts.append([sorted(own) for own in findings_of(data.target)])
        plain = {
            "kind": self.kind,
            "version": VERSION,
            "corpus": keep(corpus),
            "labels": self._labels,
            "texts": fingerprint(texts),
        }
        if self._labeller is not None:
            read = labeller(self._labeller)
            plain["labeller"] = {"files": read.files, "uncertain": self._uncertain}
        if self._compared is not None:
            self._check_compared(corpus)
            plain["compared"] = sorted(self._compared)
        if self._sentences is None:
            cut = cut_texts(model, corpus.texts)
            found = [plain | {"answer": "report", "name": BEST} | cut]
        else:
            self._check_sentences(corpus)
            name = f"best {counted(self._sentences, 'sentence')}"
            found = [plain | {"answer": "sentences", "count": self._sentences, "name": name}]
        answers = corpus if self._sentences is None else corpus.sentences()
        if len(answers.texts) == 1:  # said of the corpus, and no fault of the model
            found = [head | {ONE_ANSWER: True} for head in found]
        constant = plain | {"answer": "constant", "name": CONSTANT}
        return [*found, constant] if self._baseline else found

    def _check_compared(self, corpus: Corpus) -> None:
        from medrobust.models.chexbert import FINDINGS

        shown = (one for own in corpus.findings or () for one in own)
        known = sorted(set(shown)) if self._labeller is None else FINDINGS
        for name in self._compared or ():
            if name not in known:
                raise unknown_name("label of task.compared", name, known)

    def _check_sentences(self, corpus: Corpus) -> None:
        there, wanted = len(corpus.sentences().texts), self._sentences or 0
        if there < wanted:
            raise ConfigurationError(
                f"task.sentences={wanted}, and the corpus has {counted(there, 'sentence')} that "
                f"read differently: choose fewer."
            )

    def head(self, side: ModelSide, description: HeadDescription, data: Any) -> Head:
        """Encode the corpus that the description was planned with, once."""
        from .head import BestMatch, Constant, Judge

        corpus, shown = planned(description["corpus"]), None
        if description.get("labels"):
            given = (self._labeller, self._uncertain, self._compared)
            corpus, shown = labelled(corpus, data, *given)
        if description["answer"] == "constant":
            return Constant(corpus.constant, Judge(data, corpus, shown))
        if description["answer"] == "sentences":
            corpus = corpus.sentences()
        judge = Judge(data, corpus, shown)
        model = text_model(side, PURPOSE)
        return BestMatch(model, corpus, judge, description.get("count", 1), data.name)

    def scores(self, cell: Cell, fitted: Any = None) -> Scores:
        """Compute numbers and terms, as `scores.scores` has it."""
        return scores.scores(cell)

    def sections(self, matrix: Table) -> Sequence[Section]:
        """Return what was cut of the texts of the corpus."""
        note = cut_texts_note(matrix)
        return (Section("Corpus", order=10, html=note),) if note else ()

    def collapsed(self, cell: Cell) -> str | None:
        """Name answers that are the same for every image, where they are not meant to be."""
        meant = cell.head.get("answer") == "constant" or cell.head.get(ONE_ANSWER)
        return None if meant else scores.collapsed(cell)


def _check_reports(data: Any) -> None:
    """Refuse reports that say nothing: no answer could have a word in common with them.

    Raises:
        ConfigurationError: Saying how many.
    """
    empty = sum(not words_of(text) for text in data.target.values.tolist())
    if empty:
        raise ConfigurationError(
            f"{part_of(empty, len(data.target.values), 'text')} of data set {data.name!r} "
            f"{agreeing(empty, 'has')} no word, so that no answer could be right: leave such rows "
            f"out."
        )


TASK = ReportByRetrieval()
