"""A tokenizer's file with the right vocabulary that does something else than its family does."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import BertWordPieceTokenizer

from medrobust.exceptions import WeightsMismatchError
from medrobust.models import tokenizer

MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [*MARKS, "a", "photo", "of", "lung", "##s", "heart", "x", "-", "ray", ","]


def write_bert(
    folder: Path, *, words: list[str] = WORDS, lowercase: bool = True, **other: Any
) -> Path:
    """Write a `tokenizer.json` with some of its parts replaced."""
    path = folder / "tokenizer.json"
    BertWordPieceTokenizer({w: i for i, w in enumerate(words)}, lowercase=lowercase).save(str(path))
    path.write_text(json.dumps(json.loads(path.read_text()) | other))
    return path


def read_bert(path: Path, rows: int = len(WORDS)) -> list[int]:
    return tokenizer.read_tokenizer(path, 16, "[PAD]", rows)(["a photo of lungs"])[0][0].tolist()


def test_whole_tokenizers_of_bert_are_read_with_and_without_capitals(tmp_path: Path) -> None:
    assert read_bert(write_bert(tmp_path)) == [2, 5, 6, 7, 8, 9, 3]
    cased = [*WORDS, "Heart"]
    path = write_bert(tmp_path, words=cased, lowercase=False)
    assert read_bert(path, len(cased)) == [2, 5, 6, 7, 8, 9, 3]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"post_processor": None}, "begins and ends with"),
        ({"normalizer": None}, "capitals"),
        ({"pre_tokenizer": None}, r"come out as '\[UNK\]'"),
        ({"lowercase": False}, "capitals"),
        ({"words": [*WORDS[:2], "[SEP]", "[CLS]", *WORDS[4:]]}, r"\[SEP\] has the id 2, before"),
    ],
)
def test_a_bert_that_does_something_else_is_refused(
    tmp_path: Path, other: dict[str, Any], said: str
) -> None:
    path = write_bert(tmp_path, **other)
    with pytest.raises(WeightsMismatchError, match=rf"^tokenizer\.json does not work .*{said}"):
        read_bert(path)


def test_marks_exchanged_by_the_post_processor_alone_are_refused(tmp_path: Path) -> None:
    said = json.loads(write_bert(tmp_path).read_text())["post_processor"]
    assert said["cls"] == ["[CLS]", 2]
    path = write_bert(tmp_path, post_processor=said | {"cls": said["sep"], "sep": said["cls"]})
    with pytest.raises(WeightsMismatchError, match="begins and ends with 3 and 2"):
        read_bert(path)


def test_words_of_bert_base_at_other_places_are_refused(tmp_path: Path) -> None:
    words = [f"[unused{number}]" for number in range(28_996)]
    for place, word in {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 1104: "the"}.items():
        words[place] = word
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n")
    with pytest.raises(WeightsMismatchError, match=r"'the' has the id 1,104, and BERT .* 1,103"):
        read_bert(tmp_path / "vocab.txt", len(words))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("clip") / "tokenizer.json"
    tokenizer.transformers_clip_tokenizer(77)._backend.save(str(path))
    return path.read_text()


def read_clip(path: Path) -> list[int]:
    read = tokenizer.read_clip_tokenizer(path, 77, 49_408, 49_407)
    return read(["A Photo of LUNGS"])[0][0].tolist()


@pytest.mark.slow
def test_the_published_tokenizer_of_clip_is_read(tmp_path: Path, published: str) -> None:
    (tmp_path / "tokenizer.json").write_text(published)
    assert read_clip(tmp_path / "tokenizer.json") == [49406, 320, 1125, 539, 27366, 49407]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("merges", "comes out in pieces"),
        ("order", "comes out in pieces"),
        ("end_of_word_suffix", r"'a photo of lungs' becomes .* CLIP has \[49406, 320, 1125, 539"),
        ("post_processor", "begins and ends with"),
        ("normalizer", "capitals"),
    ],
)
def test_a_clip_that_does_something_else_is_refused(
    tmp_path: Path, published: str, part: str, said: str
) -> None:
    content = json.loads(published)
    if part == "merges":
        content["model"]["merges"] = []
    elif part == "order":
        content["model"]["merges"].reverse()
    else:
        (content["model"] if part in content["model"] else content)[part] = None
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(WeightsMismatchError, match=rf"^tokenizer\.json does not work .*{said}"):
        read_clip(tmp_path / "tokenizer.json")


@pytest.mark.parametrize("read", [read_bert, read_clip])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b'{"version": "1.0", "mod', "cut off"),
        (b"{}", "no tokenizer"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        ("{}".encode("utf-16"), "not written in UTF-8"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
    ],
)
def test_a_damaged_tokenizer_is_named_with_what_to_do(
    tmp_path: Path, read: Any, content: bytes, said: str
) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(WeightsMismatchError, match=rf"^tokenizer\.json .*{said}.*[Ff]etch"):
        read(tmp_path / "tokenizer.json")


def test_a_vocabulary_in_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_bytes("\n".join([*WORDS, "café"]).encode("latin-1"))
    with pytest.raises(WeightsMismatchError, match=r"^vocab\.txt is not written in UTF-8"):
        read_bert(tmp_path / "vocab.txt", len(WORDS) + 1)
