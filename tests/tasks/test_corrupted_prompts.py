"""Class texts are corrupted as rows beside those as they are, from one encoding."""

import numpy as np
import pytest
from run_entry import medrobust, rows
from stores import data_record

from medrobust.base.split_facts import SplitFacts
from medrobust.corruptions import TextCorruption
from medrobust.exceptions import ConfigurationError
from medrobust.models import PromptSet
from medrobust.models.base import VisionLanguageModel
from medrobust.tasks.base import ModelSide
from medrobust.tasks.classification import TASK, heads

SMALL = ("dataset=phantoms", "dataset.per_class=2", "model=phantomclip_small", "corruption=clean")


class Reads(VisionLanguageModel):
    _image_embedding = _text_embedding = NotImplemented


class Named(SplitFacts):
    texts, modality = ("no edema of the lung", "edema of the lung"), ""


def facts() -> Named:
    given = data_record(count=4, classes=2)
    names = ("name", "split", "fingerprint", "ids", "target", "class_names", "label_kind")
    return Named(**{name: getattr(given, name) for name in names})


def side(model: object = None) -> ModelSide:
    prompts = PromptSet("clip", ["a photo of {}."])
    source = type("Source", (), {"name": "clip"})()
    return ModelSide(source, (prompts,), lambda: model or Reads.__new__(Reads))


def test_sentences_of_each_class_are_corrupted_and_rows_say_how(monkeypatch) -> None:
    monkeypatch.setattr(heads, "as_read", lambda head, source: head)
    corruption = TextCorruption("removed_negations", (5,))
    plain, corrupted = TASK.with_text_corruption(corruption).heads(facts(), side())
    assert plain == TASK.heads(facts(), side())[0]
    assert corrupted["name"] == "clip, removed_negations 5"
    assert plain["texts"][0] == ["a photo of no edema of the lung."]
    assert corrupted["texts"][0] == ["a photo of edema of the lung."]
    assert corrupted["texts"][1] == plain["texts"][1]


def test_a_model_without_sentences_has_none_to_corrupt() -> None:
    class Classifier:
        pass

    task = TASK.with_text_corruption(TextCorruption("typos"))
    with pytest.raises(ConfigurationError, match="text_corruption has none to corrupt"):
        task.heads(facts(), side(Classifier()))


@pytest.mark.slow
def test_prompts_of_phantoms_are_mistyped_by_one_command(workplace) -> None:
    assert medrobust(*SMALL, "hydra.run.dir=plain") == 0
    (before,) = {row["cell"] for row in rows("plain/results.csv")}
    levels = "task.text_corruption.severities=[3,5]"
    assert medrobust(*SMALL, "text_corruption=typos", levels, "hydra.run.dir=out") == 0
    assert {row["label"].partition(" ")[2] for row in rows("out/results.csv")} == {
        "[phantoms]", "[phantoms, typos 3]", "[phantoms, typos 5]"
    }  # fmt: skip
    errors = {
        row["cell"]: float(row["value"])
        for row in rows("out/results.csv")
        if row["metric"] == "balanced_error"
    }
    assert before in errors
    assert len(errors) == 3
    assert np.ptp(list(errors.values())) > 0
