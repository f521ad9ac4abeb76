import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from medrobust.exceptions import WeightsMismatchError
from medrobust.models.loading import Rename, load_strict, read_checkpoint


def attention() -> nn.Module:
    with torch.device("meta"):
        return nn.ModuleDict({name: nn.Linear(2, 2) for name in ("q_proj", "k_proj", "v_proj")})


FUSED = [
    Rename(r"^q_proj", "attn.qkv", part=0),
    Rename(r"^k_proj", "attn.qkv", part=1),
    Rename(r"^v_proj", "attn.qkv", part=2),
]


def fused() -> dict[str, Tensor]:
    return {"attn.qkv.weight": torch.arange(12.0).view(6, 2), "attn.qkv.bias": torch.arange(6.0)}


def test_a_fused_projection_is_cut_into_query_key_and_value() -> None:
    module = attention()
    loaded = load_strict(module, fused(), file="f", renames=FUSED)
    assert module["k_proj"].weight.tolist() == [[4.0, 5.0], [6.0, 7.0]]
    assert module["v_proj"].bias.tolist() == [4.0, 5.0]
    assert loaded.used == 2
    assert loaded.renamed["attn.qkv.bias"] == "q_proj.bias, k_proj.bias, v_proj.bias"


def test_what_is_dropped_is_reported_with_its_reason() -> None:
    state = fused() | {"extra.position_ids": torch.arange(3)}
    drops = {r".*\.position_ids": "not needed"}
    loaded = load_strict(attention(), state, file="f", renames=FUSED, drops=drops)
    assert loaded.dropped == {"extra.position_ids": "not needed"}


def test_half_precision_weights_become_float32() -> None:
    module = attention()
    state = {key: value.half() for key, value in fused().items()}
    load_strict(module, state, file="f", renames=FUSED)
    assert module["q_proj"].weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"attn.qkv.bias": None}, "Missing: attn.qkv.bias"),
        ({"attn.new": torch.zeros(1)}, "Left over: attn.new"),
        ({"attn.qkv.bias": torch.zeros(9)}, "attn.qkv.bias has the shape"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_by_key(
    change: dict[str, Tensor | None], complaint: str
) -> None:
    state = {k: v for k, v in (fused() | change).items() if v is not None}
    with pytest.raises(WeightsMismatchError, match=complaint):
        load_strict(attention(), state, file="f", renames=FUSED)


def test_a_trainers_wrapping_is_taken_off(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save({"epoch": 3, "state_dict": {"module.a": torch.ones(1)}}, path)
    assert list(read_checkpoint(path)) == ["a"]


class Payload:
    pass


def test_a_pickle_with_more_than_tensors_is_refused_and_the_converter_named(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save({"state_dict": {"a": torch.ones(1)}, "args": Payload()}, path)
    with pytest.raises(WeightsMismatchError, match=r"scripts/convert_checkpoint\.py"):
        read_checkpoint(path)


@pytest.mark.parametrize("name", ["x.pt", "x.safetensors"])
@pytest.mark.parametrize("content", [b"", b"nothing of the kind", b"PK\x03\x04 half a file"])
def test_a_damaged_file_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(WeightsMismatchError, match=r"damaged|no table|holds more"):
        read_checkpoint(path)


def test_a_truncated_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save({"a": torch.ones(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(WeightsMismatchError, match="damaged"):
        read_checkpoint(path)


def test_an_archive_of_torchscript_is_told_from_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "RN50.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), path)
        with pytest.raises(WeightsMismatchError, match="TorchScript"):
            read_checkpoint(path)


def test_the_prefix_of_parallel_training_is_removed_from_safetensors_too(tmp_path: Path) -> None:
    save_file({"module.a": torch.ones(1)}, tmp_path / "x.safetensors")
    assert list(read_checkpoint(tmp_path / "x.safetensors")) == ["a"]


def test_a_trainers_own_entry_and_a_bare_tensor_are_read(tmp_path: Path) -> None:
    torch.save({"model": {"a": torch.ones(1)}, "epoch": 3}, tmp_path / "x.tar")
    assert list(read_checkpoint(tmp_path / "x.tar", entry="model")) == ["a"]
    torch.save(torch.ones(2), tmp_path / "y.pth")
    assert read_checkpoint(tmp_path / "y.pth")[""].tolist() == [1.0, 1.0]
