"""Which heads a plan has: one a prompt set, and one where prompts say nothing or nothing new."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from grouped import changed
from torch import Tensor, nn
from tuning import PROMPTS, experiment

from medrobust.adapters import NoAdapter
from medrobust.evaluation.experiment import Experiment
from medrobust.evaluation.plan import plan
from medrobust.evaluation.resources import Resources
from medrobust.exceptions import ConfigurationError
from medrobust.models import Guidance, PromptSet
from medrobust.models.own import OwnModel

RESOURCES = Resources()
OTHER = PromptSet(name="other", templates=["a scan of {}"])


class Classifier(nn.Module):
    """Answers with the same ten logits, whatever it sees."""

    def forward(self, pixels: Tensor) -> Tensor:
        return torch.arange(10.0).expand(len(pixels), -1)


def evaluated(folder: Path, *further: PromptSet) -> Experiment:
    given = experiment(folder, adapter=NoAdapter(), tuning=None)
    return changed(given, further_prompts=further)


def test_cells_of_one_condition_stand_side_by_side_and_share_its_encoding(tmp_path: Path) -> None:
    (planned,) = plan(evaluated(tmp_path, OTHER), RESOURCES)
    keys = [cell.key for cell in planned.cells]
    assert [(key.spec.severity, key.head["name"]) for key in keys] == [
        (0, "plain"),
        (0, "other"),
        (5, "plain"),
        (5, "other"),
    ]
    encodings = [key.encoding_fingerprint for key in keys]
    assert encodings[0] == encodings[1] != encodings[2] == encodings[3]
    assert len({key.fingerprint for key in keys}) == 4
    (alone,) = plan(evaluated(tmp_path), RESOURCES)
    assert [cell.key.fingerprint for cell in alone.cells] == [k.fingerprint for k in keys[::2]]


def test_prompt_sets_with_the_same_sentences_are_one_row_and_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    twin = replace(PROMPTS, name="twin")
    with caplog.at_level(logging.INFO, "medrobust.tasks.classification.heads"):
        (planned,) = plan(evaluated(tmp_path, twin, OTHER), RESOURCES)
    assert [cell.key.head["name"] for cell in planned.cells] == ["plain", "other"] * 2
    assert "'plain' and 'twin' give phantoms_site_b the same sentences" in caplog.text


def test_a_classifier_has_one_cell_a_condition_whatever_the_prompt_sets(tmp_path: Path) -> None:
    given = changed(evaluated(tmp_path, OTHER), model=OwnModel(Classifier()))
    (planned,) = plan(given, RESOURCES)
    assert [dict(cell.key.head) for cell in planned.cells] == [{"kind": "identity"}] * 2


def test_tuning_with_several_prompt_sets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="one prompt set, got prompts=plain,other"):
        experiment(tmp_path, further_prompts=(OTHER,))


def test_guidance_moves_a_fingerprint_only_where_it_moves_a_logit(tmp_path: Path) -> None:
    def fingerprints(*sets: PromptSet) -> list[str]:
        (planned,) = plan(changed(evaluated(tmp_path), prompts=sets[0]), RESOURCES)
        return [cell.key.fingerprint for cell in planned.cells]

    ends = [fingerprints(replace(PROMPTS, guidance=Guidance(g, OTHER))) for g in (0.0, 1.0)]
    assert ends == [fingerprints(OTHER), fingerprints(PROMPTS)]
    between = [fingerprints(replace(PROMPTS, guidance=Guidance(g, OTHER))) for g in (0.5, 1.5)]
    assert len({fp for found in (*ends, *between) for fp in found}) == 8
    alone = PROMPTS.description()
    assert set(alone) == {"templates", "absent", "names"}
    guided = replace(PROMPTS, guidance=Guidance(2, OTHER)).description()
    assert guided["guidance"] == {"gamma": 2.0, "generic": OTHER.description()}


def test_guided_texts_are_not_tuned_with_and_cannot_be_guided_twice(tmp_path: Path) -> None:
    from medrobust.tasks.lookup import task_of

    guided = replace(PROMPTS, guidance=Guidance(2.0, OTHER))
    side = RESOURCES.side(changed(evaluated(tmp_path), prompts=guided).model)
    with pytest.raises(ConfigurationError, match="is guided, and tuning takes one that is not"):
        task_of("classification").tuned_head(None, side, trains_head=False)
    with pytest.raises(ConfigurationError, match="'plain' is guided itself"):
        Guidance(1.5, guided)
    with pytest.raises(ConfigurationError, match="write a finite number"):
        Guidance(float("nan"), OTHER)


def test_texts_that_deny_and_texts_that_do_not_are_not_combined() -> None:
    from types import SimpleNamespace

    from medrobust.tasks.classification.heads import head_description

    data = SimpleNamespace(
        name="chest", texts=["a", "b"], modality="x", label_kind="multi-label, binary-class"
    )
    denying = PromptSet(name="pair", templates=["{}"], absent=["no {}"])
    mixed = replace(denying, guidance=Guidance(1.5, OTHER))
    with pytest.raises(ConfigurationError, match="one has absent texts and the other has not"):
        head_description(mixed, data)
    both = replace(denying, guidance=Guidance(1.5, replace(OTHER, absent=["not {}"])))
    assert head_description(both, data)["guidance"]["absent"] == [["not a"], ["not b"]]
