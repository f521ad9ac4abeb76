"""What open_clip does to a sentence before its tokenizer sees it, and which sentences that alters.

Source: `open_clip/tokenizer.py` (`HFTokenizer`, `SimpleTokenizer`) of mlfoundations/open_clip: the
keys `tokenizer_kwargs` and `tokenizer_mode` of a configuration choose, "whitespace" is the default
for a BERT and "lower" for CLIP's own vocabulary.
"""

import html
import re
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from medrobust.exceptions import WeightsMismatchError

Cleaning: TypeAlias = Literal["whitespace", "lower", "canonicalize"]

BLANK = re.compile("[ \\t\\r\\n\\u00a0\\u1680\\u2000-\\u200a\\u202f\\u205f\\u3000]+")
"""What every BERT takes for one space; other control characters it leaves out."""

PADDING = "[PAD]"
"""Written out in a sentence it counts as padding: the towers make their mask from the ids."""


@dataclass(frozen=True, slots=True)
class OpenClipText:
    """How a configuration of open_clip has sentences read.

    Attributes:
        clean: What is done to a sentence before the tokenizer.
        strip_sep: Whether the end mark of a BERT is taken away again.
        bert: Whether a BERT's vocabulary follows, or that of CLIP.
    """

    clean: Cleaning
    strip_sep: bool
    bert: bool

    def __call__(self, sentence: str) -> str:
        """Return the sentence as the tokenizer gets it."""
        plain = repaired(sentence)
        if self.clean == "canonicalize":
            plain = plain.replace("_", " ").translate(str.maketrans("", "", string.punctuation))
        plain = " ".join(plain.split())
        return plain if self.clean == "whitespace" else plain.lower()

    def altered(self, sentence: str) -> bool:
        """Whether release 0.1, which cleaned for CLIP's vocabulary alone, had other tokens."""
        read = self(sentence)
        if not self.bert:
            return read != _LOWER(sentence)
        return self.strip_sep or PADDING in read or read != BLANK.sub(" ", sentence).strip()


def repaired(sentence: str) -> str:
    """Mend broken characters (ftfy) and put HTML entities back, twice."""
    import ftfy

    return html.unescape(html.unescape(ftfy.fix_text(sentence))).strip()


def open_clip_text(said: Mapping[str, Any], source: str) -> OpenClipText:
    """Read how sentences are treated from the `text_cfg` of a configuration of open_clip.

    Args:
        said: The `text_cfg`.
        source: Where it was read, for messages.

    Raises:
        WeightsMismatchError: If it asks for what is not known here.
    """
    bert = "hf_model_name" in said
    options: dict[str, Any] = {"clean": "whitespace" if bert else "lower"}
    options |= said.get("tokenizer_kwargs") or {}
    clean, strip = options.pop("clean"), options.pop("strip_sep_token", False)
    odd = [f"tokenizer_kwargs.{key}" for key in options]
    odd += ["tokenizer_kwargs.clean"] if clean not in get_args(Cleaning) else []
    odd += ["tokenizer_kwargs.strip_sep_token"] if strip and not bert else []
    odd += ["tokenizer_mode"] if said.get("tokenizer_mode") else []
    if odd:
        raise WeightsMismatchError(
            f"{source} has sentences read in a way that is not known here ({', '.join(odd)}), so "
            f"text features would be others than the publisher's. Known are tokenizer_kwargs.clean "
            f"({', '.join(get_args(Cleaning))}) and, for a BERT, strip_sep_token."
        )
    return OpenClipText(clean=clean, strip_sep=bool(strip), bert=bert)


_LOWER = OpenClipText(clean="lower", strip_sep=False, bert=False)


def reworded(model: Any, sentences: Sequence[str]) -> dict[str, str]:
    """Ask the source of a model which sentences it reads otherwise than release 0.1 did.

    Args:
        model: What conf/model builds; one that says nothing alters nothing.
        sentences: As prompts make them.

    Returns:
        Sentence -> as it is read.
    """
    answer: Callable[[Sequence[str]], dict[str, str]] | None = getattr(model, "reworded", None)
    return {} if answer is None else answer(sentences)
