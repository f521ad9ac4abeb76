"""Released checkpoints of RobustMedCLIP as adapters: logits as the loader's, by peft and by us."""

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import write_random_biomedclip
from families import FAMILIES
from run_entry import answer
from torch import Tensor

from medrobust.adapters import Tuned
from medrobust.adapters.robustmedclip import peft_files
from medrobust.exceptions import ConfigurationError, WeightsMismatchError
from medrobust.models import MedClip, OpenClip


def copies(load: Callable[[], Any]) -> Callable[[], Any]:
    """Read the files once, and share the tokenizer: it takes longer than all that is done else."""
    once = cache(load)

    def copied() -> Any:
        model = once()
        return deepcopy(model, {id(model.tokenizer): model.tokenizer})

    return copied


SENTENCES = ["a medical image of a lymphocyte", "a medical image of an eosinophil"]


@dataclass(frozen=True)
class Released:
    """A released checkpoint, its loader, and the base model that was tuned."""

    folder: Path
    loader: Callable[[], Any]
    base: Callable[[], Any]
    size: int


def vit(folder: Path) -> Released:
    source = FAMILIES["robustmedclip_vit"](folder).source(str(folder))
    state = torch.load(folder / "model.pth", weights_only=True)
    base = {
        key.replace("lora_vit.lora_vit.", "visual.")
        .replace("text_encoder.", "text.")
        .replace("qkv.qkv.", "qkv."): value
        for key, value in state.items()
        if ".linear_" not in key
    }
    write_random_biomedclip(folder / "base")
    at_100 = base | {"logit_scale": torch.tensor(100.0).log()}
    torch.save(at_100, folder / "base/open_clip_pytorch_model.bin")
    biomedclip = OpenClip("biomedclip", "nobody/nothing", local_dir=str(folder / "base"))
    return Released(folder, source.load, copies(biomedclip.load), 160)


def resnet(folder: Path) -> Released:
    source = FAMILIES["robustmedclip_resnet"](folder).source(str(folder))
    state = torch.load(folder / "model.pth", weights_only=True)
    base = {
        key.replace("lora_resnet.lora_medclip.", "vision_model.")
        .replace("text_encoder.", "text_model.")
        .replace(".conv.weight", ".weight"): value + 0.3 if "running_mean" in key else value
        for key, value in state.items()
        if ".linear_" not in key and ".w_" not in key
    }
    (folder / "base").mkdir()
    FAMILIES["medclip_resnet"](folder / "base")
    torch.save(base | {"logit_scale": torch.tensor(9.0)}, folder / "base/pytorch_model.bin")
    medclip = MedClip(
        "medclip",
        "",
        local_dir=str(folder / "base"),
        config=str(folder / "base/architecture.json"),
        inputs="robustmedclip",
    )
    return Released(folder, source.load, copies(medclip.load), 32)


def logits(model: Any, size: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (3, 3, size, size), dtype=torch.uint8, generator=generator)
    with torch.no_grad():
        return model.encode_image(model.preprocess(images)) @ model.encode_text(SENTENCES).T


@pytest.mark.parametrize("released", [vit, resnet])
def test_a_released_checkpoint_becomes_a_folder_of_peft_with_equal_logits(
    released: Callable[[Path], Released], tmp_path: Path
) -> None:
    from peft import PeftModel

    made, out = released(tmp_path), tmp_path / "adapter"
    convert = ("--peft", released.__name__, tmp_path / "model.pth", out)
    assert answer("convert", *convert).returncode == 0
    names = {"README.md", "adapter_config.json", "adapter_model.safetensors", "medrobust.json"}
    assert {path.name for path in out.iterdir()} == names
    told = json.loads((out / "medrobust.json").read_text())["base"]
    assert f"updated weights {told['updated'][:12]}" in (out / "README.md").read_text()
    tuned = made.loader()
    expected = logits(tuned, made.size)
    base = made.base()
    plain = logits(base, made.size)
    assert (plain - expected).abs().max() > 1e-3, "else equality means nothing"
    by_peft = PeftModel.from_pretrained(base, str(out)).eval()
    torch.testing.assert_close(logits(by_peft, made.size), expected, atol=1e-5, rtol=0)
    ours = Tuned(str(out)).attach(made.base())
    torch.testing.assert_close(logits(ours, made.size), expected, atol=1e-5, rtol=0)
    assert ours.logit_scale == pytest.approx(tuned.logit_scale, rel=1e-3)
    assert set(ours.state_dict()) == set(made.base().state_dict()), "nothing is left beside"
    untouched = Tuned(str(out), interpolation=0.0).attach(made.base())
    torch.testing.assert_close(logits(untouched, made.size), plain, atol=1e-6, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("released", [vit, resnet])
def test_a_converted_adapter_knows_its_base_model_and_refuses_another(
    released: Callable[[Path], Released], tmp_path: Path
) -> None:
    made, vision = released(tmp_path), released.__name__
    state = torch.load(tmp_path / "model.pth", weights_only=True)
    out = tmp_path / "adapter"
    out.mkdir()
    for name, content in peft_files(state, vision, file="model.pth").items():
        (out / name).write_bytes(content)
    base = made.base()
    Tuned(str(out)).check_base("biomedclip", "any files that hold these weights")
    layers = [
        n for n, _ in base.named_parameters() if n.endswith(("q_proj.weight", "conv2.weight"))
    ]
    with torch.no_grad():
        base.get_parameter(layers[-1]).view(-1)[0] += 1e-3
    with pytest.raises(
        ConfigurationError, match=r"was tuned on (biomedclip|medclip_resnet50) with"
    ):
        Tuned(str(out)).attach(base)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda state: {"w_a_000": torch.zeros(4, 64)}, "adapters alone"),
        (lambda state: {k: v for k, v in state.items() if "linear" not in k}, "no adapters"),
        (lambda state: {k: v for k, v in state.items() if "1.attn.qkv.linear_b_k" not in k}, "b_k"),
        (lambda state: {k.replace("trunk", "tower"): v for k, v in state.items()}, "is adapted"),
    ],
)
def test_what_is_no_whole_checkpoint_is_not_converted(
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]], complaint: str, tmp_path: Path
) -> None:
    FAMILIES["robustmedclip_vit"](tmp_path)
    state = torch.load(tmp_path / "model.pth", weights_only=True)
    with pytest.raises(WeightsMismatchError, match=complaint):
        peft_files(change(state), "vit", file="model.pth")
