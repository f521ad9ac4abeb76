"""Patch features: equal to the hidden states of the original library, from the pass of features."""

from typing import Any

import pytest
import torch
from families import FAMILIES
from places import gap, of_timm, of_transformers, pixels_of, random_timm
from torch import Tensor, nn

from medrobust.exceptions import ConfigurationError
from medrobust.models import OwnModel, PhantomClip, Speed
from medrobust.models.base import LoadReport
from medrobust.models.encoding import MicroBatcher, encode_patches_of
from medrobust.models.preprocess import Preprocess
from medrobust.models.vision import VisionModel


@pytest.fixture(scope="module")
def phantom() -> Any:
    return PhantomClip(variant="small").load()


def tower(backbone: nn.Module) -> VisionModel:
    preprocess = Preprocess(None, (0.0,) * 3, (1.0,) * 3)
    return VisionModel(backbone, preprocess, LoadReport("random", {}, 0)).eval()


def all_patches(model: Any, pixels: Tensor) -> Any:
    with torch.no_grad():
        return model.encode_image_and_patches(pixels, range(1, model.patch_blocks + 1))


def by_its_library(model: Any) -> Any:
    """Return how the library that a tower is made of tells of its blocks."""
    parts = list(model.visual_encoder.modules())
    if trunks := [part for part in parts if hasattr(part, "forward_intermediates")]:
        return lambda pixels: of_timm(trunks[0], pixels)
    tower = next(part for part in parts if hasattr(part, "config"))
    first = 1 + getattr(tower.config, "num_register_tokens", 0)
    return lambda pixels: of_transformers(tower, pixels, first=first)


@pytest.mark.every_nth(4)
@pytest.mark.parametrize("name", FAMILIES)
def test_states_are_those_of_the_original_library(name: str, shelf: Any) -> None:
    folder, family = shelf[name]
    model = family.source(str(folder)).load()
    pixels = pixels_of(model.preprocess.size)
    features, patches = all_patches(model, pixels)
    with torch.no_grad():
        truth = (family.places or by_its_library(model))(pixels)
        assert torch.equal(features, model.encode_image(pixels))
    truth = truth[-len(patches) :]  # timm tells of the stem of a ResNet, too
    assert gap([level.states for level in patches.values()], truth) < 1e-5
    for level in patches.values():
        assert level.states.shape[1] == level.grid[0] * level.grid[1]
        if level.has_joint:
            assert level.joint().shape == (2, level.states.shape[1], features.shape[1])
    joint = tuple(block for block, level in patches.items() if level.has_joint)
    assert joint == model.joint_blocks


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sizes", "side"),
    [
        ("test_vit", {"img_size": 64}, 64),  # class token
        ("vit_tiny_patch16_224", {"img_size": 64, "depth": 2, "reg_tokens": 3}, 64),
        ("vit_tiny_patch16_224", {"img_size": 64, "depth": 2, "class_token": False,
                                  "global_pool": "avg"}, 64),
        ("swin_tiny_patch4_window7_224", {"img_size": 56, "depths": (1, 2, 1, 1)}, 56),
        ("test_convnext", {}, 64),
    ],
)  # fmt: skip
def test_towers_of_timm_are_read_with_or_without_tokens_of_no_place(
    name: str, sizes: dict[str, Any], side: int
) -> None:
    backbone = random_timm(name, **sizes)
    pixels = pixels_of(side)
    features, patches = all_patches(tower(backbone), pixels)
    with torch.no_grad():
        assert torch.equal(features, tower(backbone).encode_image(pixels))
        truth = of_timm(backbone, pixels)
    assert gap([level.states for level in patches.values()], truth[-len(patches) :]) < 1e-5


@pytest.mark.parametrize("registers", [0, 4])
def test_dinov2_with_registers_begins_after_them(registers: int) -> None:
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    config = Dinov2WithRegistersConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=56, patch_size=14,
        num_register_tokens=registers,
    )  # fmt: skip

    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = Dinov2WithRegistersModel(config).eval()

        def forward(self, pixels: Tensor) -> Tensor:
            return self.backbone(pixel_values=pixels).last_hidden_state[:, 0]

    model, pixels = tower(First()), pixels_of(70)[:, :, :56]
    patches = all_patches(model, pixels)[1]
    assert patches[2].grid == (4, 5)  # rows first
    with torch.no_grad():
        truth = of_transformers(model.visual_encoder.backbone, pixels, first=1 + registers)
    assert gap([level.states for level in patches.values()], truth) < 1e-5


@pytest.mark.slow
def test_the_class_token_of_clip_and_a_place_take_the_same_way(shelf: Any) -> None:
    model = shelf.source("clip").load()
    pixels = pixels_of(224)
    patches = all_patches(model, pixels)[1]
    last = model.visual_encoder.model.encoder.layers[-1]
    with torch.no_grad():
        kept = {}
        hook = last.register_forward_hook(lambda *call: kept.update(states=call[2]))
        embedded = model.embed_image(pixels)
        hook.remove()
    states = kept["states"][0] if isinstance(kept["states"], tuple) else kept["states"]
    projection = patches[2].projection
    assert projection is not None
    torch.testing.assert_close(projection(states)[:, 0], embedded, atol=1e-6, rtol=0)


def test_the_mean_of_places_of_phantomclip_is_its_embedding(phantom: Any) -> None:
    pixels = pixels_of(112)
    joint = all_patches(phantom, pixels)[1][2].joint()
    with torch.no_grad():
        torch.testing.assert_close(joint.mean(dim=1), phantom.embed_image(pixels))


def test_the_pool_of_siglip_sees_one_place_as_an_image_of_it_alone(shelf: Any) -> None:
    model = shelf.source("siglip").load()
    inner = model.visual_encoder.model
    level = all_patches(model, pixels_of(64))[1][1]
    with torch.no_grad():
        place = inner.head(inner.post_layernorm(level.states[1:2, 5:6]))
    torch.testing.assert_close(level.joint()[1:2, 5], place, atol=1e-6, rtol=0)


def test_a_place_of_clips_resnet_is_an_attention_pool_over_it_alone(shelf: Any) -> None:
    model = shelf.source("open_clip_rn50").load()
    pool, level = model.visual_encoder.attnpool, all_patches(model, pixels_of(64))[1][4]
    one = level.states[:, 3]
    with torch.no_grad():
        alone = torch.nn.functional.multi_head_attention_forward(
            one[None], one[None], one[None], one.shape[1], pool.num_heads, None,
            torch.cat([pool.q_proj.bias, pool.k_proj.bias, pool.v_proj.bias]), None, None, False,
            0.0, pool.c_proj.weight, pool.c_proj.bias, use_separate_proj_weight=True,
            q_proj_weight=pool.q_proj.weight, k_proj_weight=pool.k_proj.weight,
            v_proj_weight=pool.v_proj.weight, need_weights=False, training=False,
        )[0][0]  # fmt: skip
    torch.testing.assert_close(level.joint()[:, 3], alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("sizes", [(1,) * 7, (7,), (3, 4), (5, 1, 1)])
def test_bits_do_not_depend_on_the_batch_size(phantom: Any, sizes: tuple[int, ...]) -> None:
    images = torch.randint(
        0, 256, (7, 3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    batcher = MicroBatcher(phantom, micro_batch=4)
    plain = torch.cat([*batcher.push(images), *batcher.flush()])
    one = list(encode_patches_of(phantom, [images], (2, 1), micro_batch=4))
    some = list(encode_patches_of(phantom, images.split(list(sizes)), (2, 1), micro_batch=4))
    assert [len(features) for features, _ in some] == [4, 3]
    assert torch.equal(torch.cat([features for features, _ in some]), plain)
    for (_, ours), (_, theirs) in zip(some, one, strict=True):
        assert ours.blocks == theirs.blocks == (2, 1)
        for block in ours:
            assert torch.equal(ours[block].states, theirs[block].states)
            assert torch.equal(ours[block].joint(), theirs[block].joint())


def test_patch_features_carry_gradients_to_the_tower(phantom: Any) -> None:
    position = phantom.visual_encoder.position.requires_grad_(True)  # models are loaded frozen
    level = phantom.encode_patches(pixels_of(112), [1])[1]
    (gradient,) = torch.autograd.grad(level.joint().sum(), [position])
    assert gradient.abs().max() > 0
    position.requires_grad_(False)


@pytest.mark.parametrize("blocks", [(), (0,), (3,), (1, 1), (1, -1)])
def test_blocks_that_a_tower_does_not_have_are_named(phantom: Any, blocks: Any) -> None:
    with pytest.raises(ConfigurationError, match="has 2 blocks, numbered from 1"):
        phantom.encode_patches(pixels_of(112), blocks)


def test_no_hook_stays_after_an_error(phantom: Any) -> None:
    with pytest.raises(RuntimeError):
        phantom.encode_patches(pixels_of(50), [1])
    assert not any(part._forward_hooks for part in phantom.modules())


def test_towers_without_places_or_texts_say_so() -> None:
    flat = tower(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)))
    with pytest.raises(ConfigurationError, match="no list of blocks"):
        _ = flat.patch_blocks
    alone = all_patches(tower(random_timm("test_vit", img_size=64)), pixels_of(64))[1]
    assert not alone[1].has_joint
    with pytest.raises(ConfigurationError, match="no projection for them"):
        alone[1].joint()


def test_a_compiled_tower_is_refused(phantom: Any) -> None:
    phantom.speed = Speed(compile=True)
    try:
        with pytest.raises(ConfigurationError, match=r"speed\.compile=false"):
            phantom.encode_patches(pixels_of(112), [1])
    finally:
        del phantom.speed


class Dual(nn.Module):
    """Somebody's dual encoder, whose text side has blocks, too."""

    logit_scale = 10.0

    def __init__(self, *, named: bool) -> None:
        super().__init__()
        self.words = nn.ModuleDict({"blocks": nn.ModuleList([nn.Linear(2, 2)] * 9)})
        setattr(self, "visual" if named else "eyes", random_timm("test_vit", img_size=64))

    def encode_image(self, pixels: Tensor) -> Tensor:
        return self.visual(pixels)

    def encode_text(self, sentences: list[str]) -> Tensor:
        return torch.ones(len(sentences), 64)


def test_an_own_dual_encoder_gives_the_blocks_of_its_image_side() -> None:
    model = OwnModel(Dual(named=True)).load()
    assert model.patch_blocks == 6
    patches = all_patches(model, pixels_of(64))[1]
    with torch.no_grad():
        truth = of_timm(model.encoder.visual, pixels_of(64))
    assert gap([level.states for level in patches.values()], truth) < 1e-5
    with pytest.raises(ConfigurationError, match="submodule called `visual`"):
        _ = OwnModel(Dual(named=False)).load().patch_blocks
