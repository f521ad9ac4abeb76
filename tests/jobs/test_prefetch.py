"""Prefetching from stand-ins of the hub and of Zenodo; afterwards everything runs without them."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkpoints import write_random_biomedclip
from datasets import write_medimeta, write_medmnist
from hub import serve
from medmnist.info import INFO
from run_entry import answer
from zenodo import pack, serve_zenodo

from medrobust.datasets import MedIMeta
from medrobust.exceptions import InvalidDataError
from medrobust.jobs.prefetch import check_hub_file

ROOT = Path(__file__).parents[2]
HUB_ID = "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224"

NO_NETWORK = """
import runpy, socket, sys

def refused(*_):
    raise AssertionError("the network was asked")

socket.socket.connect = socket.create_connection = socket.getaddrinfo = refused
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture
def zenodo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A server with a file of MedMNIST, whose sum is the published one, and a set of MedIMeta."""
    file = write_medmnist(tmp_path / "zenodo", "bloodmnist", counts=(1, 1, 16))
    sum_ = hashlib.md5(file.read_bytes()).hexdigest()
    monkeypatch.setitem(INFO["bloodmnist"], "MD5_224", sum_)
    write_medimeta(tmp_path / "own", "pbc", size=16)
    pack(tmp_path / "own" / "pbc", tmp_path / "zenodo" / "pbc.zip")
    with serve_zenodo(r10519652=file.parent, r7884735=file.parent) as served:
        monkeypatch.setenv("MEDROBUST_ZENODO", served.address)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setenv("MEDROBUST_DATA", "")
        monkeypatch.setenv("HF_HUB_CACHE", "")
        yield file


def environment(endpoint: str | None = None) -> dict[str, str]:
    """The environment of a user, with or without a hub to ask."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    kept |= {"PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    return kept | ({"HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0"} if endpoint else {})


@pytest.mark.slow  # two processes that import everything
def test_weights_and_data_are_fetched_once_and_then_run_without_network(
    tmp_path: Path, zenodo: Path
) -> None:
    write_random_biomedclip(tmp_path / "published")
    models = "model=biomedclip,phantomclip"
    command = [sys.executable, "-m", "medrobust", "prefetch", "box", models]
    with serve({HUB_ID: tmp_path / "published"}) as endpoint:
        done = subprocess.run(
            command, cwd=tmp_path, env=environment(endpoint), capture_output=True, text=True
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "model biomedclip: " in done.stdout
    assert "model phantomclip: needs no files" in done.stdout
    box = tmp_path / "box"
    data = answer("prefetch", box, "dataset=bloodmnist,phantoms")
    assert data.returncode == 0, data.stdout + data.stderr
    assert "dataset bloodmnist: 1 file," in data.stdout
    manifest = json.loads((box / "manifest.json").read_text())["files"]
    assert {entry["of"] for entry in manifest.values()} == {"biomedclip", "bloodmnist"}
    weights = next(name for name in manifest if name.endswith("pytorch_model.bin"))
    published = (tmp_path / "published" / Path(weights).name).read_bytes()
    assert manifest[weights]["sha256"] == hashlib.sha256(published).hexdigest()

    moved = shutil.copytree(box, tmp_path / "elsewhere" / "box", symlinks=True)
    shutil.rmtree(box)
    shutil.rmtree(tmp_path / "published")
    run = f"'{sys.executable}' -c '{NO_NETWORK}' '{ROOT / 'run.py'}' model=biomedclip"
    small = "model.resolution=160 corruption=brightness severity=1"  # a tiny checkpoint
    shell = f". '{moved}/env.sh' && {run} {small}"
    done = subprocess.run(
        ["bash", "-c", shell], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    cells = (tmp_path / "outputs/store/cells/biomedclip/bloodmnist").glob("*/*/cell.json")
    specs = [json.loads(cell.read_text())["cell"] for cell in cells]
    assert sorted((spec["split"], spec["severity"]) for spec in specs) == [
        ("test", 0), ("test", 1), ("val", 0)
    ]  # fmt: skip


def test_a_folder_for_what_needs_no_files_is_as_fetched(tmp_path: Path) -> None:
    box = tmp_path / "box"
    done = answer("prefetch", box, "model=phantomclip_small", "dataset=phantoms")
    assert (done.returncode, done.stdout.count("needs no files")) == (0, 2)
    done = answer("prefetch", box, "--check")
    assert (done.returncode, done.stdout) == (0, "0 of 0 files are as fetched\n")


def test_a_copy_is_checked_against_its_manifest(tmp_path: Path, zenodo: Path) -> None:
    box = tmp_path / "box"
    assert answer("prefetch", box, "dataset=bloodmnist").returncode == 0
    done = answer("prefetch", box, "--check")
    assert (done.returncode, done.stdout) == (0, "1 of 1 file is as fetched\n")
    file = box / "data/bloodmnist_224.npz"
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(bytes(content))
    done = answer("prefetch", box, "--check")
    assert done.returncode == 1
    assert "damaged  data/bloodmnist_224.npz (bloodmnist)" in done.stdout
    again = answer("prefetch", box, "dataset=bloodmnist")
    assert again.returncode == 1
    assert "MD5" in again.stdout
    file.unlink()
    assert "missing  data/bloodmnist_224.npz" in answer("prefetch", box, "--check").stdout
    assert answer("prefetch", box, "dataset=bloodmnist").returncode == 0
    assert answer("prefetch", box, "--check").returncode == 0


def test_medimeta_is_fetched_and_its_files_are_checked_one_by_one(
    tmp_path: Path, zenodo: Path
) -> None:
    box = tmp_path / "box"
    done = answer("prefetch", box, "dataset=pbc", "dataset.size=16")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "dataset pbc: 8 files" in done.stdout
    assert answer("prefetch", box, "--check").stdout.startswith("8 of 8 files are as")
    moved = MedIMeta("pbc", root=str(box / "data/medimeta"), size=16, cache_dir=str(tmp_path / "c"))
    assert len(moved.load()) == 5
    (box / "data/medimeta/pbc/splits/test.txt").write_text("images/000000.tiff")
    told = answer("prefetch", box, "--check").stdout
    assert "damaged  data/medimeta/pbc/splits/test.txt (pbc)" in told


def test_what_cannot_be_fetched_is_said_and_the_rest_goes_on(
    tmp_path: Path, zenodo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zenodo.write_bytes(b"another file")
    done = answer("prefetch", tmp_path / "box", "dataset=bloodmnist,phantoms")
    assert done.returncode == 1
    assert (
        "dataset bloodmnist: bloodmnist_224.npz was fetched, but its MD5 sum is not" in done.stdout
    )
    assert "dataset phantoms: needs no files" in done.stdout
    assert done.stdout.splitlines()[-1] == "1 of 2 fetched: box is not complete."
    assert "On the other machine" not in done.stdout
    assert [p.name for p in (tmp_path / "box/data").iterdir()] == [".bloodmnist_224.npz.lock"]
    own = answer("prefetch", tmp_path / "box", "dataset=folder", "dataset.csv=labels.csv")
    assert "is not fetched by this command" in own.stdout
    for arguments in ([tmp_path / "box"], [tmp_path / "empty", "--check"]):
        done = answer("prefetch", *arguments)
        assert done.returncode == 1
        assert done.stderr.startswith("error: ")


def test_damaged_files_of_the_hubs_cache_are_found(tmp_path: Path) -> None:
    for content in (b"small", b"large" * 20_000):
        name = hashlib.sha256(content).hexdigest()
        if len(content) < 100:
            name = hashlib.sha1(b"blob 5\0" + content).hexdigest()
        (tmp_path / name).write_bytes(content)
        check_hub_file(tmp_path / name)
        (tmp_path / name).write_bytes(content[:-1] + b"x")
        os.utime(tmp_path / name, (1, 1))
        with pytest.raises(InvalidDataError, match="is damaged"):
            check_hub_file(tmp_path / name)
