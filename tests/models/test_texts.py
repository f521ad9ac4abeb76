"""What a sentence becomes on its way to the text tower, against each library's own tokenizer."""

import json
import shutil
from pathlib import Path
from typing import Any

import checkpoints
import pytest
import torch
from encoders import ENCODERS
from families import FAMILIES, Family
from torch.nn import functional

from medrobust.evaluation.store import head_fingerprint, texts_fingerprint
from medrobust.exceptions import WeightsMismatchError
from medrobust.models.text_cleaning import open_clip_text, reworded
from medrobust.tasks.classification.heads import as_read

PLAIN = [
    "",
    "   ",
    "a photo of a basophil",
    "CHEST RAY, Scan",
    "cell's 5'-end",
    "a\tcyst\n mass",
    "no mass " * 200,
    "cyst - mass: 3.5 x 2",
]
"""Read alike with and without the cleaning of open_clip."""

TYPESET = [
    "Crohn\u2019s disease",
    "\u201csoft\u201d mass",
    "\u2018soft\u2019 mass",
    "size &lt; 5, grade &gt;= 2",
    "lesion &amp;amp; cyst",
    "&quot;scan&quot; &#39;x&#39; &nbsp; y",
    "\ufb01brous tissue in the in\ufb02ow",
    "schÃ¶n and â€œquotedâ€\x9d",
    "ＦＵＬＬ width",
    "\x1b[31mred cell",
    "a\x0bmass",
]
OTHERS = [
    "caf\u00e9 au lait, na\u00efve, M\u00e9ni\u00e8re, Sj\u00f6gren",
    "e\u0301tude",
    "cyst \u2013 mass \u2014 tissue \u2026",
    "\u00bd 5 \u00b5m \u00b1 2 \u00b0 x\u00b2",
    "肺炎 scan \U0001f600",
    "ΟΔΟΣ İ ẞ",
    "zero\u200bwidth \ufeffmark",
    "under_score `tick` ^",
]
MARKS = [
    "[PAD] cyst",
    "mass [SEP] cyst [MASK]",
    "[CLS] [UNK] [pad]",
    "<start_of_text> cyst <end_of_text> mass",
    "cyst<|endoftext|>mass",
    "<|startoftext|>",
    "cyst </s> mass",
    "<unk>",
    "</s> <unk>mass ▁ cyst▁ray",
    "<s> <pad>",
]
PROMPTS = [*PLAIN, *TYPESET, *OTHERS, *MARKS]
IMAGES_ALONE = {"dinov2", "timm_resnet", *ENCODERS} - {"conch"}
TEXTED = [name for name in FAMILIES if name not in IMAGES_ALONE]
CLEANED = ["biomedclip", "unimed", "robustmedclip_vit"]


def differing(model: Any, family: Family) -> list[str]:
    """Return the prompts whose features, together or alone, differ from the original's."""
    assert family.text is not None
    with torch.no_grad():
        truth = functional.normalize(family.text(PROMPTS).float(), dim=-1)
    read = model.encode_text(PROMPTS)
    assert torch.unique(read.round(decimals=5), dim=0).shape[0] > 20
    off = (read - truth).abs().amax(1)
    for row in range(0, len(PROMPTS), 8):
        alone = (model.encode_text([PROMPTS[row]])[0] - truth[row]).abs().max()
        off[row] = torch.maximum(off[row], alone)
    return [prompt for prompt, far in zip(PROMPTS, off, strict=True) if not far < 1e-5]


@pytest.mark.every_nth(7)
@pytest.mark.parametrize("name", TEXTED)
def test_every_prompt_is_read_as_the_published_tokenizer_reads_it(shelf: Any, name: str) -> None:
    folder, family = shelf[name]
    model = family.source(str(folder)).load()
    # open_clip hides CONCH's own padding mark inside a sentence from every place, not the last only
    assert differing(model, family) == (["<s> <pad>"] if name == "conch" else [])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["biomedclip", "unimed"])
def test_a_folder_with_the_word_list_alone_reads_the_same(
    shelf: Any, name: str, tmp_path: Path
) -> None:
    folder, family = shelf[name]
    for path in folder.iterdir():
        if path.name != "tokenizer.json":
            (tmp_path / path.name).symlink_to(path)
    assert differing(family.source(str(tmp_path)).load(), family) == []


def test_a_clip_without_tokenizer_json_reads_as_transformers_and_not_as_open_clip(
    shelf: Any, tmp_path: Path
) -> None:
    folder, family = shelf["clip"]
    for path in folder.iterdir():
        if path.name != "tokenizer.json":
            (tmp_path / path.name).symlink_to(path)
    source = family.source(str(tmp_path))
    assert differing(source.load(), family) == []
    altered = source.reworded(PROMPTS)
    assert not set(PLAIN) & set(altered)
    assert set(TYPESET) <= set(altered)


@pytest.mark.parametrize("clean", ["whitespace", "lower", "canonicalize"])
def test_cleaning_equals_that_of_open_clip(clean: str) -> None:
    from open_clip.tokenizer import get_clean_fn

    ours = open_clip_text({"tokenizer_kwargs": {"clean": clean}}, "x")
    assert [ours(prompt) for prompt in PROMPTS] == list(map(get_clean_fn(clean), PROMPTS))


@pytest.mark.slow
@pytest.mark.parametrize(
    "kwargs", [{"clean": "canonicalize"}, {"clean": "lower", "strip_sep_token": True}]
)
def test_a_configuration_may_ask_for_another_cleaning(
    shelf: Any, tmp_path: Path, kwargs: dict[str, Any]
) -> None:
    from open_clip.tokenizer import HFTokenizer

    folder, family = shelf["biomedclip"]
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "open_clip_config.json"
    said = json.loads(path.read_text())
    said["model_cfg"]["text_cfg"]["tokenizer_kwargs"] = kwargs
    path.write_text(json.dumps(said))
    theirs = HFTokenizer(str(folder), context_length=256, **kwargs)
    ids, mask = family.source(str(tmp_path)).load().tokenizer(PROMPTS)
    wanted = theirs(PROMPTS)
    assert torch.equal(functional.pad(ids, (0, 256 - ids.shape[1])), wanted)
    assert torch.equal(mask, (wanted != 0).long()[:, : ids.shape[1]])


@pytest.mark.parametrize(
    "said",
    [
        {"hf_model_name": "x", "tokenizer_kwargs": {"clean": "none"}},
        {"hf_model_name": "x", "tokenizer_mode": "clips"},
        {"tokenizer_kwargs": {"reduction_mask": "syntax"}},
    ],
)
def test_a_way_of_reading_that_is_not_known_is_refused_by_its_key(said: dict[str, Any]) -> None:
    with pytest.raises(WeightsMismatchError, match=r"config\.json .*tokenizer_"):
        open_clip_text(said, "config.json")


def head(*sentences: str) -> dict[str, Any]:
    texts = [[sentence] for sentence in sentences]
    return {"kind": "zero_shot", "name": "p", "texts": texts, "absent": None}


@pytest.mark.parametrize("name", CLEANED)
def test_only_heads_whose_sentences_the_cleaning_alters_get_another_fingerprint(
    shelf: Any, name: str
) -> None:
    folder, family = shelf[name]
    source = family.source(str(folder))
    plain = head(*PLAIN)
    assert as_read(plain, source) == plain
    for sentence in (*TYPESET, "[PAD] cyst"):
        given = head(sentence, "no mass")
        marked = as_read(given, source)
        assert list(marked["read_as"]) == [sentence]
        assert head_fingerprint(marked) != head_fingerprint(given)
        assert texts_fingerprint(marked) == texts_fingerprint(given)


@pytest.mark.parametrize("name", [n for n in TEXTED if n not in (*CLEANED, "siglip")])
def test_families_that_are_read_as_before_alter_no_head(shelf: Any, name: str) -> None:
    folder, family = shelf[name]
    assert reworded(family.source(str(folder)), PROMPTS) == {}


def test_denials_count_as_much_as_findings(shelf: Any) -> None:
    folder, family = shelf["biomedclip"]
    given = head("mass") | {"absent": [["no \u201cmass\u201d"]]}
    marked = as_read(given, family.source(str(folder)))
    assert marked["read_as"] == {"no \u201cmass\u201d": 'no "mass"'}


def test_a_model_that_says_nothing_of_its_reading_alters_no_head() -> None:
    assert as_read(head(*PROMPTS), object()) == head(*PROMPTS)


OTHER_WORDS = ("clip", "siglip", "conch")
WITH_WORDS = [n for n in TEXTED if n not in OTHER_WORDS and "open_clip" not in n]


DAMAGES = ("longer", "shorter", "double", "no end mark", "pad elsewhere")
DAMAGED = [
    pytest.param(name, damage, marks=() if place == 0 or number == place % 5 else pytest.mark.slow)
    for place, name in enumerate(WITH_WORDS)
    for number, damage in enumerate(DAMAGES)
]
"""The first family with every damage, others with one of their own; all of them slowly."""


@pytest.mark.every_nth(5)
@pytest.mark.parametrize(("name", "damage"), DAMAGED)
def test_a_vocabulary_of_another_model_is_refused_by_the_name_of_its_file(
    shelf: Any, tmp_path: Path, name: str, damage: str
) -> None:
    folder, family = shelf[name]
    for path in folder.iterdir():
        if path.name not in ("vocab.txt", "tokenizer.json"):
            (tmp_path / path.name).symlink_to(path)
    words = (folder / "vocab.txt").read_text().split("\n")[:-1]
    if damage == "longer":
        words += ["another", "word"]
    elif damage == "shorter":
        words = words[:-5]
    elif damage == "double":
        words[-1] = words[-2]
    elif damage == "no end mark":
        words[words.index("[SEP]")] = "[sep]"
    else:
        words[0], words[7] = words[7], words[0]
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n")
    with pytest.raises(WeightsMismatchError, match=r"^vocab\.txt") as caught:
        family.source(str(tmp_path)).load()
    assert "\n" not in str(caught.value)
    if damage in ("longer", "shorter"):
        assert f"{len(words):,}" in str(caught.value)


def test_a_tokenizer_json_of_another_model_is_refused_by_its_name(
    shelf: Any, tmp_path: Path
) -> None:
    for name in ("biomedclip", "clip"):
        folder, family = shelf[name]
        (tmp_path / name).mkdir()
        for path in folder.iterdir():
            if path.name != "tokenizer.json":
                (tmp_path / name / path.name).symlink_to(path)
        other = "clip" if name == "biomedclip" else "biomedclip"
        (tmp_path / name / "tokenizer.json").symlink_to(shelf[other][0] / "tokenizer.json")
        with pytest.raises(WeightsMismatchError, match=r"^tokenizer\.json"):
            family.source(str(tmp_path / name)).load()


@pytest.mark.slow
def test_clips_vocabulary_with_two_words_exchanged_is_refused(shelf: Any, tmp_path: Path) -> None:
    folder, family = shelf["clip"]
    for path in folder.iterdir():
        if path.name != "tokenizer.json":
            (tmp_path / path.name).symlink_to(path)
    said = json.loads((folder / "tokenizer.json").read_text())
    ids = said["model"]["vocab"]
    first, second = "lung</w>", "mass</w>"
    ids[first], ids[second] = ids[second], ids[first]
    (tmp_path / "tokenizer.json").write_text(json.dumps(said))
    with pytest.raises(WeightsMismatchError, match=r"^tokenizer\.json"):
        family.source(str(tmp_path)).load()


def test_an_embedding_for_another_vocabulary_than_clips_is_refused(tmp_path: Path) -> None:
    said = checkpoints.tiny_open_clip(checkpoints.TINY_VIT)
    said["text_cfg"]["vocab_size"] = 32000
    checkpoints.write_random_open_clip(tmp_path, said)
    from medrobust.models import OpenClip

    with pytest.raises(WeightsMismatchError, match=r"49,408.*32,000"):
        OpenClip("x", "", local_dir=str(tmp_path)).load()


def test_pieces_of_another_siglip_are_refused(shelf: Any, tmp_path: Path) -> None:
    folder, family = shelf["siglip"]
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    checkpoints.write_siglip_pieces(tmp_path / "spiece.model", 60)
    with pytest.raises(WeightsMismatchError, match=r"^spiece\.model.* 60 tokens.* 70 rows"):
        family.source(str(tmp_path)).load()
