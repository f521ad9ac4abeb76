"""What is asked or mistyped is answered before anything heavy is imported.

Seconds depend on the machine; modules do not. All cases run in one process, one after the other,
and each says which heavy modules are there after it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import compositions
import pytest

HEAVY = ("torch", "pytorch_lightning", "transformers", "matplotlib", "numba", "scipy", "wandb")

CASES = {
    "--help": 0,
    "--version": 0,
    "report --help": 0,
    "verify --help": 0,
    "check-model --help": 0,
    "report nowhere": 1,
    "verify nowhere": 1,
    "sheet nowhere sheet.png": 1,
    "convert nowhere.pt": 1,
    "dataset=folder adapter=lora task=few_shot logger=wandb --help": 0,
    "--cfg job": 0,
    "vrify outputs/store": 1,
    "model=biomedclipp": 1,
    "severity=6": 1,
    "model=phantomclip,biomedclip": 1,
    "sede=1": 1,
    "few_shot.shots=3": 1,
    "store.dirr=x": 1,
    "store=x": 1,
    "tuning=few_shot tuning.optimizer=adam": 1,
    "model.nmae=x": 1,
    "model=biomedclip model.image_size=3": 1,
    "dataset=folder dataset.csvv=x": 1,
    "adapter=lora": 1,
    "task=few_shot": 1,
    "adapter=lora adapter.rnk=3": 1,
    "task=few_shot task.optimiser.lr=3": 1,
    "trainer.devces=2": 1,
    "logger=wandb logger.projekt=x": 1,
    "speed.precison=bf16": 1,
    "corruption.suit=x": 1,
    "prompts.nam=x": 1,
    "severity.levls=[1]": 1,
    "-m model=phantomclip sede=1,2": 1,
    "+model.nmae=x": 1,
    "seed=abc": 1,
    "batch_size=abc": 1,
    "severity.levels=abc": 1,
    "resume=perhaps": 1,
    "dry_run=maybe": 1,
    "license=comercial": 1,
    "dataset=folder": 1,
    "dataset=folder dataset.csv=nowhere.csv": 1,
    "dataset=npz dataset.file=nowhere.npz dataset.class_names=[a,b]": 1,
    "dataset=bloodmnist dataset.root=nowhere": 1,
    "dataset=bloodmnist dataset.split=tset": 1,
    "dataset=pbc dataset.root=nowhere": 1,
    "-m dataset=bloodmnist dataset.root=nowhere dataset.size=28,224": 1,
    "model=biomedclip": 1,
    "model=biomedclip model.local_dir=nowhere": 1,
}
"""What is typed -> exit status."""

PROGRAM = f"""
import contextlib, io, json, sys
sys.path.append({str(Path(compositions.__file__).parent)!r})
import compositions, pytest
from medrobust.cli import entry
compositions.remember(pytest.MonkeyPatch())
found = {{}}
for case in json.load(sys.stdin):
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            entry.main(case.split())
        except SystemExit as done:
            status = done.code
    found[case] = (status, [name for name in {HEAVY!r} if name in sys.modules], said.getvalue())
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, list[str], str]]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path_factory.mktemp("answers"),
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": "nowhere"},
        input=json.dumps(list(CASES)),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_an_answer_needs_nothing_heavy(case: str, answers) -> None:
    status, heavy, said = answers[case]
    assert (status, heavy) == (CASES[case], []), said
    assert ("error: " in said.splitlines()[-1]) == bool(status)
