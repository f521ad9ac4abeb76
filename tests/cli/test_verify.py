"""`medrobust verify`: what a store says is computed again, and what cannot be is named."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from run_entry import medrobust

from medrobust.base.seals import is_sealed, sealed_json
from medrobust.evaluation.store import Store
from medrobust.evaluation.store_files import described
from medrobust.jobs.verification import compare, move
from medrobust.tasks.agreement import ALLOWED

RUN = (
    *("model=phantomclip_small", "corruption=brightness", "severity=1,2", "dataset.per_class=1"),
    *("model.micro_batch=4", "validation=false"),
)


def folders() -> list[Path]:
    return sorted(Path("outputs/store/cells").glob("*/*/*/s*"))


def change_record(folder: Path, change) -> None:
    file = folder / "cell.json"
    record = json.loads(file.read_text())
    change(record)
    file.write_bytes(sealed_json(record))


def put(folder: Path, logits: np.ndarray) -> None:
    """Replace the logits of a cell as a forger would: with the checksum that fits."""
    np.save(folder / "logits.npy", logits)
    change_record(folder, lambda r: r["arrays"].update(logits=described(logits)))


def test_a_store_agrees_and_a_forged_cell_does_not(workplace, capsys) -> None:
    one = [text.replace("severity=1,2", "severity=2") for text in RUN]
    assert medrobust(*one, "validation=true") == 0
    capsys.readouterr()
    assert medrobust("verify", "outputs/store") == 0
    said = capsys.readouterr().out
    assert said.count("identical") == 3
    assert "3 cells: 3 agree, 0 differ, 0 not computed." in said
    (forged,) = (folder for folder in folders() if folder.name.startswith("s2"))
    logits = np.load(forged / "logits.npy")
    put(forged, logits + np.float32(1e-5))
    assert medrobust("verify", "outputs/store") == 0
    assert "agrees        phantomclip_small · phantoms/test · brightness s2  logits" in (
        capsys.readouterr().out
    )
    put(forged, logits[::-1].copy())
    assert medrobust("verify", "outputs/store") == 1
    assert "3 cells: 2 agree, 1 differ, 0 not computed." in capsys.readouterr().out


@pytest.mark.slow
def test_a_cell_of_another_task_is_compared_by_all_its_arrays(workplace, capsys) -> None:
    assert medrobust(*RUN, "task=retrieval") == 0
    capsys.readouterr()
    assert medrobust("verify", "outputs/store") == 0
    assert capsys.readouterr().out.count("identical") == 3
    cell = next(Store(Path("outputs/store")).cells())
    ranks = cell.arrays["text_rank"].copy()
    ranks[:3] += 1
    found = compare(cell, {**cell.arrays, "text_rank": ranks}, "cpu: x")
    assert found.kind == "differs"
    assert f"text_rank differs in 3 of {len(ranks)} rows (1 allowed)" in found.sentence


@pytest.mark.slow
def test_the_sample_follows_its_seed(workplace, capsys) -> None:
    assert medrobust(*RUN) == 0
    capsys.readouterr()
    said = []
    for seed in ("0", "0", "1", "2"):
        assert medrobust("verify", "outputs/store", "--cells", "1", "--seed", seed) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert len(set(said)) > 1
    assert medrobust("verify", "outputs/store", "--cells", "0") == 1
    assert medrobust("verify", "nowhere") == 1
    assert "nowhere holds no cells" in capsys.readouterr().err


def test_a_sample_passes_over_no_damaged_cell(workplace, capsys) -> None:
    assert medrobust(*RUN) == 0
    damaged, other, _ = folders()
    file = damaged / "cell.json"
    file.write_bytes(file.read_bytes().replace(b'"severity": 1', b'"severity": 2', 1))
    capsys.readouterr()
    for seed in "012":
        assert medrobust("verify", "outputs/store", "--cells", "1", "--seed", seed) == 1
        said = capsys.readouterr()
        assert damaged.name in said.err
        assert "agree" not in said.out
    shutil.rmtree(damaged)
    (other / "row-0.png").write_bytes(b"")
    assert medrobust("verify", "outputs/store", "--cells", "1") == 1
    assert f"{other.name} is damaged: row-0.png" in capsys.readouterr().err


@pytest.mark.parametrize("more", ["--cells 2", "--seed 1", "dataset.root=x"])
def test_what_chooses_cells_is_refused_beside_seal(workplace, capsys, more: str) -> None:
    Path("store/cells").mkdir(parents=True)
    assert medrobust("verify", "store", "--seal", *more.split()) == 1
    told = f"--seal computes no cell, so that {more.split()[0]} has nothing to choose"
    assert told in capsys.readouterr().err


@pytest.mark.slow
def test_own_data_is_asked_for_and_then_verified(workplace, capsys) -> None:
    Path("ward").mkdir()
    for number in range(4):
        values = np.random.default_rng(number).integers(0, 255, (40, 40), dtype=np.uint8)
        Image.fromarray(values).save(f"ward/{number}.png")
    lines = "".join(f"{number}.png,{'ab'[number % 2]}\n" for number in range(4))
    Path("ward/labels.csv").write_text("path,label\n" + lines)
    own = ("dataset=folder", "dataset.csv=ward/labels.csv", "dataset.modality=scan")
    assert medrobust("model=phantomclip_small", "corruption=clean", *own) == 0
    capsys.readouterr()
    assert medrobust("verify", "outputs/store", "--cells", "2") == 1
    said = capsys.readouterr().out
    assert "keeps no paths: add dataset.csv=PATH for the same files" in said
    Path("ward").rename("elsewhere")
    command = said.splitlines()[-1].removeprefix("With the paths: medrobust ")
    assert command == "verify outputs/store --cells 2 dataset.csv=PATH"
    verify = command.replace("PATH", "elsewhere/labels.csv").split()
    store, cells, change = verify[1:2], verify[2:4], verify[4:]
    for order in (verify, ["verify", *store, *change, *cells], ["verify", *cells, *store, *change]):
        assert medrobust(*order) == 0
        assert "identical" in capsys.readouterr().out
    Path("elsewhere/labels.csv").write_text("path,label\n" + lines.replace("3.png,b", "3.png,a"))
    assert medrobust(*verify) == 1
    assert "data differ from what the cell was made with" in capsys.readouterr().out


@pytest.mark.slow
def test_a_path_that_one_cell_needs_leaves_the_others_alone(workplace, capsys) -> None:
    assert medrobust(*RUN) == 0
    Path("scans").mkdir()
    for row in range(2):
        Image.new("L", (64, 64), 60 + 90 * row).save(f"scans/{row}.png")
    Path("scans/labels.csv").write_text("path,label\n0.png,dark\n1.png,bright\n")
    own = ("dataset=folder", "dataset.csv=scans/labels.csv", "dataset.modality=scan")
    assert medrobust("model=phantomclip_small", "corruption=clean", *own) == 0
    capsys.readouterr()
    assert medrobust("verify", "outputs/store", "dataset.csv=scans/labels.csv") == 0
    assert "4 cells: 4 agree, 0 differ, 0 not computed." in capsys.readouterr().out
    assert medrobust("verify", "outputs/store", "dataset.cvs=scans/labels.csv") == 1
    assert "dataset.cvs is no key of the configuration of any cell" in capsys.readouterr().err


def test_the_help_states_the_exit_status(workplace, capsys) -> None:
    assert medrobust("verify", "--help") == 0
    assert "Exit status: 0 if every cell" in " ".join(capsys.readouterr().out.split())
    assert medrobust("verify", "outputs/store", "--cell-count", "2") == 2


@pytest.mark.slow
def test_a_tuned_adapter_is_taken_from_the_store_and_nothing_is_trained(workplace, capsys) -> None:
    tune = ("task=few_shot", "adapter=linear_probe", "task.shots=2")
    assert medrobust(*RUN[:2], "severity=1", "dataset.per_class=4", *tune) == 0
    capsys.readouterr()
    assert medrobust("verify", "outputs/store", "--cells", "9") == 0
    assert "differ, 0 not computed" in capsys.readouterr().out
    Path("outputs/store/adapters").rename("adapters")
    assert medrobust("verify", "outputs/store", "--cells", "1", "--seed", "3") == 1
    assert "bring STORE/adapters along" in capsys.readouterr().out


def test_a_hostile_record_runs_nothing(workplace, capsys) -> None:
    assert medrobust(RUN[0], "corruption=clean", "dataset.per_class=1", RUN[-1]) == 0
    (folder,) = folders()
    for target in ("os.system", "medrobust.cli.os.system", "builtins.exec"):
        bad = {"_target_": target, "command": "touch owned"}
        change_record(folder, lambda r, bad=bad: r["config"].update(prompts=bad))
        assert medrobust("verify", "outputs/store") == 1
        assert f"names '{target}' in prompts._target_" in capsys.readouterr().out
    change_record(folder, lambda r: r["config"].update(seed="${oc.env:HOME}"))
    assert medrobust("verify", "outputs/store") == 1
    assert not Path("owned").exists()
    change_record(folder, lambda r: r.update(config={}))
    assert medrobust("verify", "outputs/store") == 1
    assert "made from arrays in memory" in capsys.readouterr().out


def test_the_tolerance_follows_devices_and_precision(workplace) -> None:
    exact = {"encoding": {"precision": "32-true"}, "device": "cpu: x86_64, 1 threads"}
    moves = move(exact, "cpu: arm64, 8 threads"), move(exact, "cuda: X")
    assert ALLOWED[moves[0]] < ALLOWED[moves[1]] == 0.05
    half = {**exact, "encoding": {"precision": "bf16-mixed"}}
    assert ALLOWED[move(half, "cpu: x86_64, 1 threads")] == 0.5
    assert medrobust(RUN[0], "corruption=clean", "dataset.per_class=1", RUN[-1]) == 0
    (cell,) = Store(Path("outputs/store")).cells()
    near = {"logits": cell.arrays["logits"] + np.float32(0.01)}
    assert compare(cell, near, "cuda: X").kind == "agrees"
    assert compare(cell, near, cell.record["device"]).kind == "differs"


def test_a_store_of_release_0_1_is_sealed_once_and_reads_the_same(workplace, capsys) -> None:
    given = Path(__file__).parents[1] / "data" / "store_0_1" / "store"
    shutil.copytree(given, "store")
    before = {cell.fingerprint: cell.arrays["logits"] for cell in Store(Path("store")).cells()}
    counts = []
    for _ in range(2):
        assert medrobust("verify", "store", "--seal") == 0
        counts.append(int(capsys.readouterr().out.split()[0]))
    assert counts == [len(list(given.rglob("*.json"))), 0]
    assert all(is_sealed(json.loads(path.read_bytes())) for path in Path("store").rglob("*.json"))
    after = {cell.fingerprint: cell.arrays["logits"] for cell in Store(Path("store")).cells()}
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    next(Path("store").rglob("logits.npy")).unlink()
    assert medrobust("verify", "store", "--seal") == 1
    assert "logits.npy cannot be read" in capsys.readouterr().err
