"""`medrobust doctor`: each finding from what is really there, and the exit status."""

import json
import socket
from collections import namedtuple

import pytest
import torch

from medrobust.cli import doctor
from medrobust.cli import entry as cli
from medrobust.models import PhantomClip


def answer(*arguments: str) -> int:
    with pytest.raises(SystemExit) as done:
        cli.main(["doctor", *arguments])
    return done.value.code


def test_a_machine_that_runs_the_demonstration_leaves_with_zero(workplace, capsys) -> None:
    assert answer("--json") == 0
    findings = {f["part"]: f for f in json.loads(capsys.readouterr().out)}
    assert list(findings) == [
        "python",
        "packages",
        "lock",
        "device",
        "demonstration",
        "weights",
        "data",
        "network",
        "wandb",
        "store",
        "cache",
    ]
    assert findings["demonstration"]["state"] == findings["python"]["state"] == "ok"
    assert findings["network"]["found"] == "switched off for the hub (HF_HUB_OFFLINE)"
    assert findings["wandb"]["found"] == "logger=wandb runs offline"
    assert answer() == 0
    assert "GB free in" in capsys.readouterr().out


def test_a_missing_or_old_package_is_wrong(monkeypatch) -> None:
    monkeypatch.setattr(
        doctor, "requires", lambda _: ["absent-package>=1", "numpy>=999", "gone>=1; extra == 'ray'"]
    )
    finding = doctor.packages()
    assert finding.state == "wrong"
    assert "missing: absent-package; unfit: numpy" in finding.found
    monkeypatch.setattr(doctor, "requires", lambda _: ["numpy>=2", "gone>=1; extra == 'ray'"])
    finding = doctor.packages()
    assert (finding.state, "gone (ray)" in finding.found) == ("note", True)


def test_versions_beside_the_lock_are_named(tmp_path, monkeypatch) -> None:
    (tmp_path / "conf").mkdir()
    monkeypatch.setattr(doctor, "conf_folder", lambda: tmp_path / "conf")
    assert doctor.locked().state == "ok"
    (tmp_path / "requirements.lock").write_text("# made\nnumpy==0.1\nabsent-package==2\n")
    finding = doctor.locked()
    assert finding.state == "note"
    assert "absent-package missing (locked 2)" in finding.found
    assert "(locked 0.1)" in finding.found


def test_the_files_of_the_demonstration_are_those_of_its_models(tmp_path, monkeypatch) -> None:
    sources = (PhantomClip(), PhantomClip(name="phantomclip_small", variant="small"))
    files = {path for source in sources for path in source.files().values()}
    assert files == {doctor.PACKAGED / name for name in doctor.DEMONSTRATION}
    monkeypatch.setattr(doctor, "PACKAGED", tmp_path)
    finding = doctor.demonstration()
    assert (finding.state, "phantomclip_base.safetensors" in finding.found) == ("wrong", True)


def test_a_gpu_is_asked_for_where_a_driver_is(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: "a GPU")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: (8e9, 16e9))
    monkeypatch.setattr(doctor, "DRIVERS", (str(tmp_path / "none"),))
    assert doctor.device().state == "note"
    monkeypatch.setattr(doctor, "DRIVERS", (str(tmp_path),))
    assert doctor.device() == doctor.Finding("device", "ok", "a GPU; 8 GB free on the first")


def test_weights_are_looked_for_in_the_hub_s_cache(tmp_path, monkeypatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert doctor.weights().state == "note"
    place = tmp_path / "models--openai--clip-vit-base-patch16" / "snapshots" / "abc"
    place.mkdir(parents=True)
    (place / "model.safetensors").touch()
    finding = doctor.weights()
    assert (finding.state, "clip_vit_b16" in finding.found) == ("ok", True)


def test_data_is_looked_for_where_runs_look(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MEDROBUST_DATA", str(tmp_path))
    assert doctor.data().state == "note"
    (tmp_path / "bloodmnist_224.npz").touch()
    finding = doctor.data()
    assert (finding.state, finding.found.endswith(": bloodmnist")) == ("ok", True)


@pytest.mark.parametrize("up", [True, False])
def test_a_host_is_asked_for_a_short_time_and_sent_nothing(monkeypatch, up: bool) -> None:
    asked = []

    class Open:
        def close(self) -> None:
            asked.append("closed")

    def connect(address, timeout):
        asked.append((address, timeout))
        if not up:
            raise OSError("no network")
        return Open()

    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(socket, "create_connection", connect)
    finding = doctor.network()
    assert finding.state == ("ok" if up else "note")
    assert (("huggingface.co", 443), doctor.PATIENCE) in asked
    assert asked.count("closed") == (2 if up else 0)


@pytest.mark.parametrize(("free", "state"), [(100, "ok"), (5, "note"), (0.2, "wrong")])
def test_a_full_disk_is_wrong_and_a_small_one_noted(tmp_path, monkeypatch, free, state) -> None:
    usage = namedtuple("usage", "total used free")(0, 0, int(free * 1e9))
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda place: usage)
    assert doctor.disk("store", tmp_path / "not" / "there").state == state


def test_a_store_below_a_file_is_wrong_and_so_is_the_exit_status(workplace, capsys) -> None:
    (workplace / "file").touch()
    assert answer("--store", "file/store") == 1
    assert "cannot be written" in capsys.readouterr().out
