"""Whether a tokenizer's file does what its family does: told by what it makes of a few texts."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medrobust.base.safe_files import regular_bytes
from medrobust.exceptions import WeightsMismatchError

from .file_kinds import POINTER

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PROBES = ("a photo of lungs", "a chest x-ray, 12 mm", "no pleural effusion")
"""Texts of lower case, whose ids are compared."""

MOST_WORDS = 32
"""Words of a vocabulary that are tried."""

BERT_BASE = {
    30_522: {"[CLS]": 101, "the": 1996, "of": 1997, "and": 1998},
    28_996: {"[CLS]": 101, "the": 1103, "of": 1104, "and": 1105},
}
"""Size -> ids of BERT base, uncased and cased; vocabularies with [CLS] elsewhere are others."""


def read_text(path: Path) -> str:
    """Read a tokenizer's file as UTF-8.

    Args:
        path: The file.

    Raises:
        WeightsMismatchError: If it is empty, a pointer of Git LFS, or no UTF-8.
    """
    content = regular_bytes(path)
    if not content.strip():
        raise WeightsMismatchError(f"{path.name} is empty. Fetch it again.")
    if content.startswith(POINTER):
        raise WeightsMismatchError(
            f"{path.name} is a pointer of Git LFS and not the tokenizer: run `git lfs pull`, or "
            f"fetch the file again."
        )
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise WeightsMismatchError(
            f"{path.name} is not written in UTF-8 (byte {error.start + 1:,} cannot be read). Fetch "
            f"it again, and let no editor save it in another encoding."
        ) from error
    if text.startswith("\ufeff"):
        raise WeightsMismatchError(
            f"{path.name} begins with a byte order mark, which an editor has put there. Fetch it "
            f"again, or save it as UTF-8 without one."
        )
    return text


def read_backend(path: Path) -> "Tokenizer":
    """Read a `tokenizer.json`; what it says of truncation and padding is left out.

    Args:
        path: The file.

    Raises:
        WeightsMismatchError: If no tokenizer can be made of it.
    """
    from tokenizers import Tokenizer

    text = read_text(path)
    try:
        backend = Tokenizer.from_str(text)
    except Exception as error:  # the library raises no other class
        raise WeightsMismatchError(
            f"{path.name} is cut off, damaged or no tokenizer of the tokenizers library ({error}). "
            f"Fetch it again."
        ) from error
    backend.no_truncation()
    backend.no_padding()
    return backend


def check_bert(backend: "Tokenizer", file: str) -> None:
    """Try a BERT's tokenizer: its marks, its words and, where it has no capitals, its lower case.

    Args:
        backend: Without truncation.
        file: Its name, for the message.

    Raises:
        WeightsMismatchError: If it does something else; says what.
    """
    vocabulary: dict[str, int] = backend.get_vocab(with_added_tokens=True)
    start, end = vocabulary["[CLS]"], vocabulary["[SEP]"]
    if end < start:
        raise _differs(file, f"[SEP] has the id {end:,}, before [CLS] with {start:,}")
    _check_places(vocabulary, file)
    words = _plain_words(vocabulary, "")
    _check_marks(backend, (start, end), " ".join(words[:2]) or "a", file)
    stop = [","] if "," in vocabulary else []
    for text, wanted in ((" ".join(words), words), (",".join(words[:2]), words[:1] + stop)):
        found = backend.encode(text, add_special_tokens=False).tokens
        if found[: len(wanted)] != wanted:
            _, piece = _first_difference(wanted, found)
            raise _differs(file, f"words of its own vocabulary come out as {piece!r}")
    if not any(token != token.lower() for token in vocabulary if not token.startswith("[")):
        _check_lower(backend, [*PROBES, " ".join(words)], file)


def check_clip(
    backend: "Tokenizer",
    marks: tuple[str, str],
    published: "Callable[[tuple[str, ...]], Sequence[Sequence[int]]] | None",
    file: str,
) -> None:
    """Try a tokenizer of CLIP: its marks, its lower case, its merges and its ids.

    Args:
        backend: Without truncation.
        marks: Tokens that a sentence begins and ends with.
        published: Texts -> ids of each by the tokenizer as published, where the vocabulary is that
            one.
        file: Its name, for the message.

    Raises:
        WeightsMismatchError: If it does something else; says what.
    """
    vocabulary: dict[str, int] = backend.get_vocab(with_added_tokens=True)
    _check_marks(backend, (vocabulary[marks[0]], vocabulary[marks[1]]), PROBES[0], file)
    _check_lower(backend, PROBES, file)
    words = _plain_words(vocabulary, "</w>")
    broken = [w for w in words if len(backend.encode(w, add_special_tokens=False).ids) != 1]
    if 2 * len(broken) > len(words):
        raise _differs(file, f"{broken[0]!r} of its vocabulary comes out in pieces (its merges)")
    for text, wanted in zip(PROBES, published(PROBES), strict=True) if published else ():
        found = list(backend.encode(text).ids)
        if found != wanted:
            raise _differs(file, f"{text!r} becomes {found}, and CLIP has {wanted} for it")


def _check_places(vocabulary: dict[str, int], file: str) -> None:
    """Look for words of BERT base where its size and its [CLS] say that it is that one."""
    places = BERT_BASE.get(len(vocabulary), {})
    if places and vocabulary["[CLS]"] == places["[CLS]"]:
        for word, place in places.items():
            if vocabulary.get(word, place) != place:
                raise _differs(
                    file, f"{word!r} has the id {vocabulary[word]:,}, and BERT has it at {place:,}"
                )


def _check_marks(backend: "Tokenizer", marks: tuple[int, int], text: str, file: str) -> None:
    ids = backend.encode(text).ids
    if not ids or (ids[0], ids[-1]) != marks:
        ends = f"{ids[0]:,} and {ids[-1]:,}" if ids else "nothing"
        raise _differs(
            file,
            f"a sentence begins and ends with {ends}, not with its marks {marks[0]:,} and "
            f"{marks[1]:,} (its post_processor)",
        )


def _check_lower(backend: "Tokenizer", texts: Sequence[str], file: str) -> None:
    for text in texts:
        if backend.encode(text.upper()).ids != backend.encode(text).ids:
            raise _differs(file, "capitals are not made lower case (its normalizer)")


def _plain_words(vocabulary: dict[str, int], ending: str) -> list[str]:
    """Return words of small letters, the first of three or more by their ids."""
    stems = (
        t.removesuffix(ending)
        for t in sorted(vocabulary, key=vocabulary.__getitem__)
        if t.endswith(ending)
    )
    words = [stem for stem in stems if len(stem) > 2 and stem.isascii() and stem.isalpha()]
    return [word for word in words if word.islower()][:MOST_WORDS]


def _first_difference(wanted: Sequence[str], found: Sequence[str]) -> tuple[str, str]:
    pairs = zip(wanted, [*found, *[""] * len(wanted)], strict=False)
    return next(pair for pair in pairs if pair[0] != pair[1])


def _differs(file: str, what: str) -> WeightsMismatchError:
    return WeightsMismatchError(
        f"{file} does not work as the tokenizer of this model does: {what}. Put the one that was "
        f"published with the weights in its place."
    )
