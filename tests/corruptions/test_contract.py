"""The contract of the corruptions: nothing changes unseen."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from medrobust.corruptions.contract import Clause, card, clauses, made_with, pixels_digest
from medrobust.keys import FORMAT

ROOT = Path(__file__).parents[2]
AGAIN = "Raise its version and run scripts/write_contract.py, or undo the change."


def write_contract():
    spec = importlib.util.spec_from_file_location(
        "write_contract", ROOT / "scripts/write_contract.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def contract():
    return json.loads((ROOT / "docs" / "corruption-contract.json").read_text(encoding="utf-8"))


def test_the_contract_has_a_clause_for_every_entry_of_every_suite(contract):
    stored = {(c.identity, c.version) for c in map(clause_of, contract["clauses"])}
    assert stored == {(c.identity, c.version) for c in clauses()}, AGAIN
    assert contract["keys"] == FORMAT


def clause_of(stored):
    return Clause(**{k: stored[k] for k in ("name", "severity", "kernel", "parameters", "version")})


def test_equal_corruptions_have_one_version_in_every_suite():
    identities = [clause.identity for clause in clauses()]
    assert len(identities) == len(set(identities))


def test_integer_draws_are_the_same_on_every_machine(contract):
    changed = [
        clause["name"]
        for clause in contract["clauses"]
        if clause_of(clause).draws_digest() != clause["draws"]
    ]
    assert not changed


def test_pixels_are_those_of_the_contract(contract):
    """Within one grey level anywhere; equal where platform and versions made the contract."""
    assert pixels_digest(card()) == contract["card"]
    with np.load(ROOT / "tests" / "data" / "contract" / "pixels.npz") as file:
        stored = torch.from_numpy(file["pixels"])
    same_machine = made_with() == contract["made_with"]
    for clause, expected in zip(contract["clauses"], stored, strict=True):
        pixels = clause_of(clause).pixels()
        what = f"{clause['name']}, severity {clause['severity']}, {clause['parameters']}"
        near = (pixels[0].int() - expected.int()).abs() <= 1
        assert float(near.double().mean()) >= 0.9999, f"{what}. {AGAIN}"
        if same_machine:
            assert pixels_digest(pixels) == clause["pixels"], f"{what}. {AGAIN}"


def test_the_card_shows_every_corruption(contract):
    alike = [c for c in contract["clauses"] if c["pixels"] == contract["card"]]
    # Bands move by up to 2 % of the width there, which of 40 pixels is none.
    assert [(c["kernel"], c["severity"]) for c in alike] == [("medfm_oct_motion", 1)]


def test_changed_pixels_under_an_old_version_are_named(contract):
    changed = write_contract().changed
    other = json.loads(json.dumps(contract))
    assert changed(contract, other) == []
    other["clauses"][3]["pixels"] = "0" * 64
    assert len(changed(contract, other)) == 1
    other["clauses"][3]["version"] += 1
    assert changed(contract, other) == []
    other["clauses"][5]["pixels"] = "0" * 64
    other["made_with"] = {"machine": "another"}
    assert changed(contract, other) == []
    other["clauses"][5]["draws"] = "0" * 64
    assert len(changed(contract, other)) == 1
