"""The small jobs around models: convert a checkpoint, check a model, write the table."""

import argparse
import importlib.util
import os
import pickle
from pathlib import Path
from types import ModuleType

import checkpoints
import numpy as np
import pytest
import torch
from families import FAMILIES
from run_entry import medrobust
from safetensors.torch import load_file

from medrobust.exceptions import WeightsMismatchError

SCRIPTS = Path(__file__).parents[2] / "scripts"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> object:
        return os.system, (f"touch {self.witness}",)


@pytest.mark.slow
def test_settings_beside_tensors_are_left_out_and_the_model_then_loads(tmp_path, capsys) -> None:
    family = FAMILIES["cxr_clip_swin"](tmp_path)
    path = tmp_path / family.weights
    content = torch.load(path, weights_only=True)
    truth = family.source(str(tmp_path)).load().encode_text(["no mass"])
    settings = argparse.Namespace(rate=np.float64(0.1), where=Path("a"), size=np.zeros(3))
    torch.save(content | {"args": settings}, path)
    with pytest.raises(WeightsMismatchError, match="medrobust convert FILE"):
        family.source(str(tmp_path)).load()
    assert medrobust("convert", str(path)) == 0
    assert f"{len(content['model'])} tensors" in capsys.readouterr().out
    written = load_file(tmp_path / "weights.safetensors")
    assert all(torch.equal(written[key], value) for key, value in content["model"].items())
    model = family.source(str(tmp_path)).load()
    assert "weights.safetensors" in model.report.files
    torch.testing.assert_close(model.encode_text(["no mass"]), truth, atol=1e-6, rtol=0)


def test_anything_else_stays_closed_and_is_never_run(tmp_path, capsys) -> None:
    witness = tmp_path / "witness"
    path = tmp_path / "x.pt"
    torch.save({"state_dict": {"a": torch.ones(1)}, "evil": Payload(witness)}, path)
    assert medrobust("convert", str(path)) == 1
    assert "system" in capsys.readouterr().err
    assert not witness.exists()
    assert not path.with_suffix(".safetensors").exists()


def test_a_table_at_another_place_is_named_by_its_entry(tmp_path, capsys) -> None:
    path = tmp_path / "x.pt"
    torch.save({"ema": {"a": torch.ones(2), "step": 3}, "epoch": 1}, path)
    assert medrobust("convert", str(path)) == 1
    assert "--entry" in capsys.readouterr().err
    assert medrobust("convert", str(path), str(tmp_path / "y.safetensors"), "--entry", "ema") == 0
    assert load_file(tmp_path / "y.safetensors")["a"].tolist() == [1.0, 1.0]


def test_a_model_is_described_with_a_checksum_that_repeats(capsys) -> None:
    printed = []
    for _ in range(2):
        assert medrobust("check-model", "model=phantomclip_small", "model.micro_batch=2") == 0
        printed.append(capsys.readouterr().out)
    facts = [{line[:16].strip(): line[16:] for line in text.splitlines()} for text in printed]
    for name in (
        "fingerprint",
        "keys",
        "visual_encoder",
        "preprocessing",
        "features",
        "rate",
        "memory",
    ):
        assert facts[0][name]
    assert facts[0]["features"] == facts[1]["features"]
    assert "images per second" in printed[0]


def test_a_file_of_ones_own_is_found_and_a_wrong_name_is_one_sentence(tmp_path, capsys) -> None:
    mine = tmp_path / "my files"
    (mine / "model").mkdir(parents=True)
    content = "defaults: [phantomclip_small, _self_]\nname: mine\nmicro_batch: 2\n"
    (mine / "model" / "mine.yaml").write_text(content)
    assert medrobust("check-model", "--config-dir", str(mine), "model=mine") == 0
    assert capsys.readouterr().out.startswith("model           mine\n")
    assert medrobust("check-model", "model=mine") == 1
    assert "model 'mine'" in capsys.readouterr().err.replace('"', "'")


def test_a_model_without_its_files_is_refused_in_one_sentence(tmp_path, capsys) -> None:
    assert medrobust("check-model", "model=medclip_vit", f"model.local_dir={tmp_path}") == 1
    error = capsys.readouterr().err
    assert "pytorch_model.bin" in error
    assert len(error.strip().splitlines()) == 1


def test_the_table_of_models_is_that_of_the_configuration() -> None:
    table = script("write_model_table")
    text = table.PAGE.read_text(encoding="utf-8")
    assert table.page(text) == text, "run: python scripts/write_model_table.py"
    assert "| `biomedclip` |" in text


def test_every_published_model_states_license_gate_resolution_and_training_data() -> None:
    for name, _, content in script("write_model_table").entries():
        assert {"gated", "resolution", "trained_on", "micro_batch", "local_dir"} <= content.keys()
        general = content["license"] == "unknown"
        assert general or (content["resolution"] and content["trained_on"]), name


def with_weights(folder: Path, changed: dict[str, torch.Tensor]) -> list[str]:
    """Write a small CLIP with some of its tensors replaced, and name it as check_model wants."""
    checkpoints.write_random_clip(folder)
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    torch.save(state | changed, folder / "pytorch_model.bin")
    return ["model=transformers_clip", f"model.local_dir={folder}", "model.micro_batch=1"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("visual_projection.weight", torch.full((24, 48), float("nan")), "NaN"),
        ("visual_projection.weight", torch.ones(24, 48, dtype=torch.int8), "int8"),
        ("logit_scale", torch.tensor(1e4), "logit scale"),
        ("text_projection.weight", torch.full((24, 32), 3e38), "features of a sentence"),
    ],
)
def test_a_model_that_computes_nothing_is_no_success(tmp_path, capsys, key, value, words) -> None:
    assert medrobust("check-model", *with_weights(tmp_path, {key: value})) == 1
    error = capsys.readouterr().err
    assert words in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kept", "words"),
    [
        ((), "two pictures are the same"),
        (("vision_model", "visual_projection"), "two sentences are the same"),
        (("text_model", "text_projection"), "two pictures are the same"),
    ],
)
def test_a_model_of_zeros_is_no_success(tmp_path, capsys, kept, words) -> None:
    options = with_weights(tmp_path, {})
    state = torch.load(tmp_path / "pytorch_model.bin", weights_only=True)
    zeros = {k: torch.zeros_like(v) for k, v in state.items() if not k.startswith(("log", *kept))}
    torch.save(state | zeros, tmp_path / "pytorch_model.bin")
    assert medrobust("check-model", *options) == 1
    error = capsys.readouterr().err
    assert words in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize("content", [b"", pickle.dumps({"a": 1}), b"PK\x03\x04 half"])
def test_the_converter_says_of_what_it_cannot_read_one_sentence(tmp_path, capsys, content) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(content)
    assert medrobust("convert", str(path)) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: x.pt is ")
    assert len(error.strip().splitlines()) == 1
    assert "weights_only" not in error
