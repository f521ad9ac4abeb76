"""Guidance of stored cells: gamma chosen on validation, kept under every corruption."""

from dataclasses import replace

import numpy as np
import pytest
from stores import cell_key, data_record, write_cell
from validated import read_part, write_validated

from medrobust.base.fingerprints import fingerprint
from medrobust.evaluation.store import Store
from medrobust.exceptions import ConfigurationError
from medrobust.readings import Guidance


def planted(root, gamma):
    """Write cells whose logits are right where the bias of general texts is taken off."""
    store, rng = Store(root), np.random.default_rng(0)
    test = data_record("ward", count=300, classes=3)
    val = replace(test, split="val", fingerprint=fingerprint([test.fingerprint, "val"]))
    for data, name, level in ((val, "clean", 0), (test, "clean", 0), (test, "contrast", 5)):
        right = 4 * np.eye(3)[data.labels] + rng.normal(size=(300, 3))
        bias = 20 * rng.normal(size=(300, 3))
        expert = (right + (gamma - 1) * bias) / gamma
        for prompts, logits in (("expert", expert), ("general", bias)):
            key = cell_key(data, "m", name, level, prompts=prompts)
            key = replace(key, spec=replace(key.spec, split=data.split))
            write_cell(store, data, key, logits=logits.astype(np.float32))
    return store


def test_the_planted_gamma_is_chosen_on_validation_and_read_from_stored_cells(tmp_path):
    planted(tmp_path / "store", 1.5)
    asked = ("guidance.expert=expert", "guidance.generic=general")
    (rows,), part = read_part(tmp_path / "store", asked, "guidance", "guidance.csv")
    assert {row["gamma"] for row in rows} == {"1.5"}
    assert {row["corruption"] for row in rows} == {"clean", "contrast"}
    for row in rows:
        assert float(row["guided_error"]) < 0.05 < 0.3 < float(row["expert_error"])
        assert float(row["high"]) < 0
        gain = float(row["guided_error"]) - float(row["expert_error"])
        assert float(row["difference"]) == pytest.approx(gain)
    assert "γ = 1.5" in part


def test_named_sets_change_places(tmp_path):
    planted(tmp_path / "store", 1.5)
    asked = ("guidance.expert=general", "guidance.generic=expert", "guidance.highest=1")
    (rows,), _ = read_part(tmp_path / "store", asked, "guidance", "guidance.csv")
    assert {row["expert"] for row in rows} == {"general"}
    assert all(float(row["gamma"]) <= 1 for row in rows)


@pytest.mark.parametrize(
    ("more", "words", "sentence"),
    [
        ({}, (), "no cells of a second prompt set"),
        ({}, ("guidance.generic=clip",), "no cells of the prompt set &#x27;clip&#x27;"),
        (
            {"prompts": ("a", "b"), "val_labels": np.zeros(200, np.int64)},
            (),
            "all validation images are of one class",
        ),
    ],
)
def test_what_cannot_be_read_is_a_sentence(tmp_path, more, words, sentence):
    write_validated(tmp_path / "store", **more)
    (rows,), part = read_part(tmp_path / "store", ("guidance", *words), "guidance", "guidance.csv")
    assert sentence in part
    assert not rows


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ConfigurationError, match="write a step above 0"):
        Guidance(step=0)
    with pytest.raises(ConfigurationError, match="both 'a'"):
        Guidance(expert="a", generic="a")
    assert Guidance(highest=1, step=0.4).gammas == [0.0, 0.4, 0.8, 1.0]
