"""CheXbert's checkpoint: loaded strictly, its classes those of the published forward pass."""

from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from medrobust.base.split_facts import SplitFacts
from medrobust.base.targets import Texts
from medrobust.exceptions import ConfigurationError, WeightsMismatchError, WeightsNotFoundError
from medrobust.models import chexbert
from medrobust.models.chexbert import FINDINGS, Chexbert
from medrobust.tasks.base import Cell
from medrobust.tasks.report_by_retrieval import TASK, ReportByRetrieval
from medrobust.tasks.report_by_retrieval.corpus import merged
from medrobust.tasks.report_by_retrieval.head import Judge
from medrobust.tasks.report_by_retrieval.labels import labelled

REPORTS = ["no mass in the chest", "evidence of\n severe  disease", "mild scan", "", "cyst " * 700]
ANSWERS = np.array([[1], [0], [2], [3]])
FIVE = ["Cardiomegaly", "Edema", "Consolidation", "Atelectasis", "Pleural Effusion"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a small random checkpoint as CheXbert's trainer lays it out; keep the truth with it."""
    monkeypatch.setattr(chexbert, "SIZES", checkpoints.BERT_SMALL)
    bert = checkpoints.random_bert(1)
    generator = torch.Generator().manual_seed(2)
    state = checkpoints.prefixed("module.bert.", bert)
    state["module.bert.embeddings.position_ids"] = torch.arange(512)[None]
    for number in range(14):
        rows = 2 if number == 13 else 4
        state[f"module.linear_heads.{number}.weight"] = torch.randn(rows, 32, generator=generator)
        state[f"module.linear_heads.{number}.bias"] = torch.zeros(rows)
    content = {"epoch": 3, "model_state_dict": state, "optimizer_state_dict": {"state": {}}}
    torch.save(content, tmp_path / "chexbert.pth")
    checkpoints.write_bert_tokenizer(tmp_path, 300)
    return tmp_path


def truth(folder: Path) -> torch.Tensor:
    """Classes by transformers' own tokenizer and BERT, report after report."""
    from transformers import BertTokenizer

    tokenizer = BertTokenizer(vocab=str(folder / "vocab.txt"), do_lower_case=True)
    bert = checkpoints.random_bert(1)
    state = torch.load(folder / "chexbert.pth", weights_only=True)["model_state_dict"]
    rows = []
    for report in REPORTS:
        ids = tokenizer(" ".join(report.split()))["input_ids"]
        ids = ids if len(ids) <= 512 else [*ids[:511], ids[-1]]
        with torch.no_grad():
            first = bert(torch.tensor([ids])).last_hidden_state[0, 0]
        heads = (state[f"module.linear_heads.{number}.weight"] for number in range(14))
        rows.append([int((head @ first).argmax()) for head in heads])
    return torch.tensor(rows)


def test_classes_and_findings_are_those_of_the_published_forward_pass(folder: Path) -> None:
    labeler, expected = Chexbert(folder), truth(folder)
    assert torch.equal(labeler.classes(REPORTS), expected)
    assert len(torch.unique(expected)) == 4
    for uncertain, counted in (("negative", (1,)), ("positive", (1, 3))):
        found = labeler.findings(REPORTS, uncertain)  # type: ignore[arg-type]
        for own, row in zip(found, expected.tolist(), strict=True):
            assert own == {n for n, k in zip(FINDINGS, row, strict=True) if k in counted}


@pytest.mark.parametrize("damage", ["missing", "extra", "shape"])
def test_a_checkpoint_that_does_not_fit_is_refused(folder: Path, damage: str) -> None:
    content = torch.load(folder / "chexbert.pth", weights_only=True)
    state, key = content["model_state_dict"], "module.linear_heads.13.bias"
    if damage == "missing":
        del state[key]
    elif damage == "extra":
        state["module.linear_heads.14.bias"] = torch.zeros(4)
    else:
        state[key] = torch.zeros(4)
    torch.save(content, folder / "chexbert.pth")
    with pytest.raises(WeightsMismatchError, match=r"linear_heads\.1[34]\.bias"):
        Chexbert(folder)


def test_a_folder_without_its_files_says_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFoundError, match=r"chexbert\.pth and vocab\.txt are needed"):
        Chexbert(tmp_path)


def facts() -> Any:
    texts = Texts(np.array(REPORTS), np.array([[0, 0], [1, 1], [2, 2], [2, 4], [3, 3]]))
    ids = np.array([f"image {number}" for number in range(4)])
    return SplitFacts(
        name="toy", split="test", fingerprint="0" * 64, ids=ids, target=texts, origin="public"
    )


def test_answers_are_compared_by_what_chexbert_reads_in_both(folder: Path) -> None:
    data, corpus = facts(), merged((text, 1) for text in REPORTS)
    for compared in (None, FIVE):
        both, shown = labelled(corpus, data, str(folder), "positive", compared)
        arrays = Judge(data, both, shown).arrays(ANSWERS)
        cell = Cell("0" * 64, arrays, {"kind": TASK.kind, "answer": "report"}, data)
        found = TASK.scores(cell).estimates["finding_micro_f1"].value
        names = FINDINGS if compared is None else compared
        by_image = [shown, [both.findings[place] for place in ANSWERS[:, 0].tolist()]]
        table = [[[name in own for name in names] for own in side] for side in by_image]
        assert found == pytest.approx(f1_score(*table, average="micro"), abs=1e-12)
    assert shown[2] == frozenset(FIVE) & (_read(folder, 2) | _read(folder, 4))  # both its texts


def _read(folder: Path, text: int) -> frozenset[str]:
    return Chexbert(folder).findings([REPORTS[text]], "positive")[0]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"labeller": "weights"}, "pass task.labels=true"),
        ({"compared": FIVE}, "pass task.labels=true"),
        ({"labels": True, "uncertain": "maybe"}, r"task\.uncertain='maybe'"),
    ],
)
def test_choices_that_compare_nothing_are_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        ReportByRetrieval(**given)
