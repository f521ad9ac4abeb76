import gzip
import io
import pickle
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save, save_file
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


def test_loaded_weights_are_frozen_as_those_below_an_adapter_are() -> None:
    # Where a weight may be trained torch folds the product, and other processors round otherwise.
    module = attention()
    load_strict(module, fused(), file="f", renames=FUSED)
    assert not any(value.requires_grad for value in module.parameters())


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
    with pytest.raises(WeightsMismatchError, match=r"medrobust convert FILE"):
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


def broken(kind: str) -> dict[str, torch.Tensor]:
    """Return the two tensors of a linear layer, one of them of a kind that no model is made of."""
    weight = torch.ones(3, 2)
    made = {
        "int8": lambda: weight.to(torch.int8),
        "uint8": lambda: weight.to(torch.uint8),
        "bool": lambda: weight > 0,
        "complex64": lambda: weight.to(torch.complex64),
        "float8_e4m3fn": lambda: weight.to(torch.float8_e4m3fn),
        "sparse": lambda: weight.to_sparse(),
        "meta": lambda: weight.to("meta"),
        "NaN": lambda: weight.index_fill(0, torch.tensor([1]), float("nan")),
        "infinite": lambda: weight.index_fill(0, torch.tensor([1]), float("-inf")),
    }[kind]()
    return {"weight": made, "bias": torch.zeros(3)}


@pytest.mark.parametrize(
    "kind",
    ["int8", "uint8", "bool", "complex64", "float8_e4m3fn", "sparse", "meta", "NaN", "infinite"],
)
def test_weights_that_are_no_finite_plain_numbers_are_refused_by_key(kind: str) -> None:
    with pytest.raises(WeightsMismatchError, match=rf"^x\.pt h\w+ .*{kind}.*weight") as caught:
        load_strict(nn.Linear(2, 3), broken(kind), file="x.pt")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_floating_weights_of_other_widths_become_float32(dtype: torch.dtype) -> None:
    layer = nn.Linear(2, 3)
    state = {key: value.to(dtype) for key, value in layer.state_dict().items()}
    load_strict(layer, state, file="x.pt")
    assert layer.weight.dtype is torch.float32


def test_finite_weights_whose_sum_is_not_are_taken() -> None:
    state = {"weight": torch.full((3, 2), 3e38), "bias": torch.zeros(3)}
    load_strict(layer := nn.Linear(2, 3), state, file="x.pt")
    assert torch.equal(layer.weight, state["weight"])


def test_a_dropped_tensor_may_be_anything() -> None:
    state = {"weight": torch.ones(3, 2), "bias": torch.zeros(3), "steps": torch.tensor([7])}
    load_strict(nn.Linear(2, 3), state, file="x.pt", drops={"steps": "of the trainer"})


OTHERS = {
    "a plain pickle": lambda state: pickle.dumps(state),
    "a plain pickle of numpy": lambda state: pickle.dumps({"a": state["a"].numpy()}, protocol=4),
    "an old pickle": lambda state: pickle.dumps({"a": [1.5]}, protocol=0),
    "a pointer of Git": lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    "a text": lambda _: b"<!DOCTYPE html><title>404</title>",
    "safetensors": lambda state: save(state),
    "gzip": lambda _: gzip.compress(b"anything"),
    "numbered": lambda state: saved({0: state["a"]}),
    "archive": lambda state: archive({"inner/weights.txt": b"1"}),
}
"""What a file may be instead of a checkpoint, and a word that the sentence must say of it."""


def saved(content: object) -> bytes:
    written = io.BytesIO()
    torch.save(content, written)
    return written.getvalue()


def archive(files: dict[str, bytes]) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as into:
        for name, content in files.items():
            into.writestr(name, content)
    return written.getvalue()


@pytest.mark.parametrize("kind", OTHERS)
def test_a_file_of_another_kind_is_called_what_it_is_in_one_sentence(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(OTHERS[kind]({"a": torch.ones(2)}))
    word = {"a plain pickle of numpy": "a plain pickle", "an old pickle": "a plain pickle"}
    with pytest.raises(WeightsMismatchError, match=word.get(kind, kind)) as caught:
        read_checkpoint(path)
    assert str(caught.value).startswith("weights.bin ")
    for libraries_word in ("torch.load", "Traceback", "WeightsUnpickler", "\n"):
        assert libraries_word not in str(caught.value)


def test_a_file_that_torch_saved_long_ago_is_still_read(tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
    assert read_checkpoint(path)["a"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("sign", "at", "instead"),
    [(b"PK\x01\x02", 0, b"PX"), (b"PK\x06\x06", 48, b"\xff\xff\xff\x7f")],
    ids=["an entry", "the place of the list"],
)
def test_an_archive_whose_list_of_contents_is_damaged_is_refused(
    tmp_path: Path, sign: bytes, at: int, instead: bytes
) -> None:
    file = tmp_path / "weights.pt"
    torch.save({"weight": torch.ones(3)}, file)
    content = bytearray(file.read_bytes())
    place = content.rindex(sign) + at
    content[place : place + len(instead)] = instead
    file.write_bytes(content)
    with pytest.raises(WeightsMismatchError, match=r"weights\.pt is damaged"):
        read_checkpoint(file)


def test_an_archive_whose_first_bytes_are_lost_is_called_damaged(tmp_path: Path) -> None:
    file = tmp_path / "weights.bin"
    torch.save({"a": torch.ones(200)}, file)
    whole = bytearray(file.read_bytes())
    whole[10:40] = bytes(30)
    file.write_bytes(whole)
    with pytest.raises(WeightsMismatchError, match=r"^weights\.bin is damaged, or holds more"):
        read_checkpoint(file)
