"""Windows of places that a tower encodes alone: as if its attention were blind elsewhere."""

from typing import Any

import pytest
import torch
from places import pixels_of
from torch import Tensor
from torch.nn import functional

from medrobust.exceptions import ConfigurationError
from medrobust.models import PhantomClip
from medrobust.models.patches import PatchFeatures
from medrobust.tasks.anomaly.scorers.windows import window_members

WITH_CLASS_TOKEN = ("clip", "biomedclip", "open_clip_vit", "unimed")
WHOLE_MAPS = ("open_clip_rn50", "medclip_vit", "medclip_resnet", "cxr_clip_swin", "pmc_clip")


def places_of(grid: tuple[int, int], side: int) -> Tensor:
    members = window_members(grid, side)
    return members.nonzero()[:, 1].view(len(members), -1)


def blind(monkeypatch: pytest.MonkeyPatch, seen: Tensor) -> None:
    """Let every attention of torch look at the class token and these places alone."""
    attention = functional.scaled_dot_product_attention

    def masked(query: Tensor, key: Tensor, value: Tensor, **keywords: Any) -> Tensor:
        mask = torch.full((key.shape[-2],), float("-inf"))
        mask[0] = 0
        mask[1 + seen] = 0
        shape = (*query.shape[:-1], key.shape[-2])
        return attention(query, key, value, **keywords | {"attn_mask": mask.expand(shape)})

    monkeypatch.setattr(functional, "scaled_dot_product_attention", masked)


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_CLASS_TOKEN)
def test_a_window_is_what_the_class_token_says_that_sees_nothing_else(
    name: str, shelf: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = shelf.source(name).load()
    pixels = pixels_of(model.preprocess.size)
    with torch.no_grad():
        patches = model.encode_image_and_patches(pixels, (model.patch_blocks,))[1]
        grid = patches[model.patch_blocks].grid
        windows = places_of(grid, 2 if min(grid) > 2 else 1)
        found = patches.windows(windows)
        for number in (0, len(windows) // 2, len(windows) - 1):
            with monkeypatch.context() as patch:
                blind(patch, windows[number])
                truth = model.encode_image(pixels)
            torch.testing.assert_close(found[:, number], truth, atol=2e-6, rtol=0)
    assert found.shape == (2, len(windows), truth.shape[1])
    assert (found[:, 0] - found[:, -1]).abs().max() > 1e-4


@pytest.mark.slow
def test_a_window_of_all_places_is_the_image(shelf: Any) -> None:
    model = shelf.source("clip").load()
    pixels = pixels_of(224)
    with torch.no_grad():
        features, patches = model.encode_image_and_patches(pixels, (2,))
        every = torch.arange(patches[2].states.shape[1])[None]
        torch.testing.assert_close(patches.windows(every)[:, 0], features, atol=2e-6, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE_MAPS)
def test_towers_of_whole_maps_say_why_they_cannot(name: str, shelf: Any) -> None:
    model = shelf.source(name).load()
    with pytest.raises(ConfigurationError, match=r"no plain vision transformer.*scorer=windows"):
        model.check_windows()


@pytest.mark.parametrize(
    ("name", "why"), [("dinov3", "told of the places of the whole grid"), ("sam", "adds a bias")]
)
def test_towers_whose_attention_knows_the_whole_grid_say_so(
    name: str, why: str, shelf: Any
) -> None:
    model = shelf.source(name).load()
    with pytest.raises(ConfigurationError, match=why), torch.no_grad():
        model.encode_windows(pixels_of(model.preprocess.size), torch.tensor([[0], [15]]))


def test_windows_of_some_images_are_those_of_all() -> None:
    whole = torch.arange(12.0).view(3, 2, 2)
    patches = PatchFeatures([], lambda windows: whole[:, : len(windows)])
    some = patches.rows(1, 3).of(()).windows(torch.zeros(1, 4, dtype=torch.int64))
    assert torch.equal(some, whole[1:3, :1])


@pytest.mark.slow
def test_a_window_sees_no_pixel_outside_of_it_and_no_hook_stays(shelf: Any) -> None:
    model: Any = shelf.source("clip").load()
    whole, windows = pixels_of(224), places_of((7, 7), 3)
    with torch.no_grad():
        image = model.encode_image(whole)
        one = model.encode_windows(whole, windows[7:8])
        assert torch.equal(image, model.encode_image(whole))
        rows, columns = torch.meshgrid(torch.arange(224), torch.arange(224), indexing="ij")
        outside = ~torch.isin(rows // 32 * 7 + columns // 32, windows[7])
        again = model.encode_windows(whole.masked_fill(outside, 0.0), windows[7:8])
        inside = model.encode_windows(whole.masked_fill(~outside, 0.0), windows[7:8])
    assert torch.equal(one, again)
    assert not torch.allclose(one, inside)


def test_a_tower_behind_a_stem_encodes_windows_of_its_tokens() -> None:
    model: Any = PhantomClip(variant="small").load()
    pixels = pixels_of(112)
    with torch.no_grad():
        found = model.encode_windows(pixels, places_of((7, 7), 2))
        whole = model.encode_windows(pixels, torch.arange(49)[None])
        torch.testing.assert_close(whole[:, 0], model.encode_image(pixels))
    assert found.shape == (2, 36, whole.shape[-1])
