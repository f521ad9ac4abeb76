"""What reports say of findings: by the labels of images, or read by CheXbert."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .corpus import Corpus, Findings, findings_of

if TYPE_CHECKING:
    from medrobust.models.chexbert import Chexbert, Uncertain


@lru_cache(maxsize=1)
def labeller(folder: str) -> "Chexbert":
    """Load CheXbert, once."""
    from medrobust.models.chexbert import Chexbert

    return Chexbert(Path(folder).expanduser())


@lru_cache(maxsize=8)
def read(folder: str, uncertain: "Uncertain", texts: tuple[str, ...]) -> tuple[Findings, ...]:
    """Read the findings of texts, once for all rows and cells."""
    return tuple(labeller(folder).findings(texts, uncertain))


def labelled(
    corpus: Corpus,
    data: Any,
    folder: str | None,
    uncertain: "Uncertain",
    compared: Sequence[str] | None,
) -> tuple[Corpus, list[Findings]]:
    """Return the corpus with the findings of its texts, and those of each image.

    Args:
        corpus: With those of its images, where nobody reads them.
        data: Facts of the split that is answered.
        folder: Of CheXbert; None: labels of images count.
        uncertain: What becomes of findings that may be there.
        compared: Those that count; None: all.
    """
    if folder is None:
        said, shown = list(corpus.findings or ()), findings_of(data.target)
    else:
        said = list(read(folder, uncertain, tuple(corpus.texts)))
        own = read(folder, uncertain, tuple(data.target.values.tolist()))
        shown = [frozenset[str]() for _ in range(len(data))]
        for image, text in data.target.pairs.tolist():
            shown[image] |= own[text]
    if compared is not None:
        kept = frozenset(compared)
        said, shown = ([one & kept for one in each] for each in (said, shown))
    return replace(corpus, findings=said), shown
