"""UniverSeg outlines by examples what its published equations make of them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import pytest
import segmented
import torch
from torch.nn import functional

from medrobust.exceptions import ConfigurationError, WeightsMismatchError
from medrobust.models import UniversegCheckpoint
from medrobust.models.segmenter import Examples
from medrobust.tasks.segmentation import TASK, Segmentation

WIDTHS = (4, 6, 5)
FILE = "universeg_v1_nf64_ss64_STA.pt"


def random_state(seed: int = 0) -> dict[str, torch.Tensor]:
    """The keys and shapes of the published file, of other widths, written out by hand."""
    random = torch.Generator().manual_seed(seed)
    a, b, c = WIDTHS
    shapes = {}
    for name, target, support, width in (
        ("enc_blocks.0", 1, 2, a),
        ("enc_blocks.1", a, a, b),
        ("enc_blocks.2", b, b, c),
        ("dec_blocks.0", c + b, c + b, b),
        ("dec_blocks.1", b + a, b + a, a),
    ):
        shapes[f"{name}.cross.cross_conv"] = (width, target + support, 3, 3)
        shapes[f"{name}.target.vmapped.conv"] = (width, width, 3, 3)
        shapes[f"{name}.support.vmapped.conv"] = (width, width, 3, 3)
    shapes["out_conv.conv"] = (1, a, 1, 1)
    state = {}
    for name, shape in shapes.items():
        scale = (2 / np.prod(shape[1:])) ** 0.5
        state[f"{name}.weight"] = scale * torch.randn(shape, generator=random)
        state[f"{name}.bias"] = 0.1 * torch.randn(shape[0], generator=random)
    return state


def by_hand(
    state: dict[str, torch.Tensor], target: torch.Tensor, images: torch.Tensor, masks: torch.Tensor
) -> torch.Tensor:
    """Go through arXiv:2304.06131, section 3: each example beside the target, one after another."""

    def convolved(name: str, given: torch.Tensor) -> torch.Tensor:
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        return functional.conv2d(given, weight, bias, padding=weight.shape[-1] // 2)

    def block(name: str, own: torch.Tensor, support: list) -> tuple[torch.Tensor, list]:
        met = [convolved(f"{name}.cross.cross_conv", torch.cat([own, v], dim=1)) for v in support]
        mean = sum(met) / len(met)
        further = [functional.leaky_relu(convolved(f"{name}.support.vmapped.conv", z)) for z in met]
        return functional.leaky_relu(convolved(f"{name}.target.vmapped.conv", mean)), further

    own = target
    support = [torch.cat([x[None], y[None]], dim=1) for x, y in zip(images, masks, strict=True)]
    own, support = block("enc_blocks.0", own, support)
    first = own, support
    own, support = functional.max_pool2d(own, 2), [functional.max_pool2d(v, 2) for v in support]
    own, support = block("enc_blocks.1", own, support)
    second = own, support
    own, support = functional.max_pool2d(own, 2), [functional.max_pool2d(v, 2) for v in support]
    own, support = block("enc_blocks.2", own, support)
    enlarged = torch.nn.UpsamplingBilinear2d(scale_factor=2)
    for name, (skip, skips) in (("dec_blocks.0", second), ("dec_blocks.1", first)):
        own = torch.cat([enlarged(own), skip], dim=1)
        beside = zip(support, skips, strict=True)
        support = [torch.cat([enlarged(v), w], dim=1) for v, w in beside]
        own, support = block(name, own, support)
    return convolved("out_conv.conv", own)


def source(folder: Path, state: dict[str, torch.Tensor] | None = None) -> UniversegCheckpoint:
    checkpoints.save(random_state() if state is None else state, folder / FILE)
    return UniversegCheckpoint("universeg", local_dir=str(folder), micro_batch=2, widths=WIDTHS)


def test_logits_are_those_of_the_published_equations(tmp_path: Path) -> None:
    model = source(tmp_path).load()
    random = np.random.default_rng(0)
    images = torch.from_numpy(random.integers(0, 256, (5, 3, 128, 128)).astype(np.uint8))
    pixels = model.preprocess(images)
    masks = torch.from_numpy(random.random((2, 3, 200, 200)) < 0.5)
    _, patches = model.encode_image_and_patches(pixels[2:], [1])
    decoder = model.example_decoder([Examples(patches, one) for one in masks])
    with torch.no_grad():
        found = decoder(*model.encode_image_and_patches(pixels[:2], decoder.blocks), None)
        nearest = [int((row + 0.5) * 200 / 128) for row in range(128)]
        for kind, mask in enumerate(masks, 1):
            small = mask[:, nearest][:, :, nearest].float()[:, None]
            for place in range(2):
                given = pixels[place : place + 1, :1], pixels[2:, :1], small
                wanted = by_hand(random_state(), *given)
                torch.testing.assert_close(found[place, kind], wanted[0, 0], atol=1e-5, rtol=1e-5)
    assert not found[:, 0].any()
    assert wanted.std() > 0.05
    assert (found[:, 1] - found[:, 2]).abs().max() > 0.01


def test_pixels_are_grey_and_of_their_own_range(tmp_path: Path) -> None:
    model = source(tmp_path).load()
    images = torch.full((2, 3, 64, 64), 100, dtype=torch.uint8)
    images[0, :, :32] = 150
    pixels = model.preprocess(images)
    assert pixels.shape == (2, 3, 128, 128)
    assert (pixels[0].min(), pixels[0].max()) == (0, 1)
    features, _ = model.encode_image_and_patches(pixels * 0, [1])
    torch.testing.assert_close(features.norm(dim=1), torch.ones(2))


@pytest.mark.parametrize(
    ("key", "new", "said"),
    [
        ("out_conv.conv.bias", None, r"Missing: out_conv\.conv\.bias"),
        ("out_conv.weight", torch.zeros(1), r"Left over: out_conv\.weight"),
        ("enc_blocks.1.cross.cross_conv.weight", torch.zeros(6, 8, 1, 1), r"shape \(6, 8, 1, 1\)"),
    ],
)
def test_other_keys_and_shapes_are_refused(tmp_path: Path, key: str, new: Any, said: str) -> None:
    state = random_state()
    state.pop(key, None)
    with pytest.raises(WeightsMismatchError, match=said):
        source(tmp_path, state if new is None else state | {key: new}).load()


def test_training_images_that_show_a_class_are_its_examples_in_a_run(tmp_path: Path) -> None:
    few = Segmentation(examples=3)
    cells = segmented.run(tmp_path / "a", few, source=source(tmp_path))
    cell = cells["clean", 0]
    assert cell.head["examples"]["images"] == 3
    assert len(cell.head["examples"]["train"]) == 2
    assert cell.arrays["predicted_area"].any()
    bare = segmented.segmented()
    no_bar = np.where(segmented.masks(13) == 2, 0, segmented.masks(13)).astype(np.uint8)
    train = segmented.segmented("train")
    other = replace(
        bare, other_split=lambda name: replace(train, target=type(train.target)(no_bar, "no bar"))
    )
    with pytest.raises(ConfigurationError, match="train split of data set 'greys' shows 'bar'"):
        segmented.run(tmp_path / "b", TASK, other, source=source(tmp_path))
    with pytest.raises(ConfigurationError, match=r"task\.examples=0"):
        Segmentation(examples=0)
