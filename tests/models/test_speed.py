from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from medrobust.exceptions import ConfigurationError
from medrobust.models import OwnModel, Speed


@pytest.fixture(scope="module", params=["open_clip_vit", "open_clip_rn50", "medclip_vit"])
def source(request: pytest.FixtureRequest, shelf: Any) -> Any:
    return shelf.source(request.param)


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(4, 3, 5, 5, generator=generator)
    return functional.interpolate(coarse, (64, 64), mode="bicubic") * 4 - 2


def features(source: Any, pixels: torch.Tensor, **options: Any) -> torch.Tensor:
    with torch.no_grad():
        return Speed(**options).apply(source.load()).encode_image(pixels)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"channels_last": True}, {"attention": "eager"}])
def test_order_and_attention_move_no_feature_by_1e_5(
    source: Any, pixels: torch.Tensor, options: dict[str, Any]
) -> None:
    ours = features(source, pixels, **options)
    torch.testing.assert_close(ours, features(source, pixels), atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_turns_features_by_less_than_its_stated_tolerance(
    source: Any, pixels: torch.Tensor, precision: str
) -> None:
    exact, fast = features(source, pixels), features(source, pixels, precision=precision)
    assert fast.dtype == torch.float32
    assert not torch.equal(exact, fast)
    assert (1 - (exact * fast).sum(dim=1)).max() < 1e-3
    torch.testing.assert_close(fast.norm(dim=1), torch.ones(4))


@pytest.mark.slow
def test_texts_stay_exact_and_weights_stay_float32(source: Any) -> None:
    exact, fast = source.load(), Speed(precision="bf16", channels_last=True).apply(source.load())
    assert torch.equal(exact.encode_text(["a cyst"]), fast.encode_text(["a cyst"]))
    assert {parameter.dtype for parameter in fast.parameters()} == {torch.float32}


def test_compilation_is_asked_of_the_image_tower_alone(
    source: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled.append(self))
    model = Speed(compile=True).apply(source.load())
    assert compiled == [model.visual_encoder]


def test_only_what_differs_from_the_exact_way_is_in_the_fingerprint() -> None:
    assert Speed().description() == {}
    assert Speed(precision="fp16", compile=True).description() == {
        "precision": "fp16",
        "compile": True,
    }


def test_choices_that_do_not_exist_or_do_not_apply_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"speed\.precision='int8'"):
        Speed(precision="int8")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="speed=exact"):
        Speed(channels_last=True).apply(OwnModel(nn.Flatten()).load())


def test_eager_attention_reaches_the_blocks(shelf: Any) -> None:
    source = shelf.source("open_clip_vit")
    model = Speed(attention="eager").apply(source.load())
    assert model.visual_encoder.model.config._attn_implementation == "eager"
