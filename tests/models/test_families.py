"""What holds for every family: equal to the original, strict about keys, still in evaluation."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from families import FAMILIES, Family
from PIL import Image
from torch import Tensor
from torch.nn import functional

from medrobust.exceptions import WeightsMismatchError, WeightsNotFoundError
from medrobust.models import MicroBatcher, ZeroShotHead, class_features
from medrobust.models.own import module_fingerprint

SENTENCES = ["a photo of a Basophil.", "evidence of severe disease, mild - x-ray", "no " * 300]


@pytest.fixture(scope="module")
def loaded(shelf: Any) -> dict[str, Any]:
    """Models by name, each loaded at first use."""

    class Loaded(dict[str, Any]):
        def __missing__(self, name: str) -> Any:
            folder, family = shelf[name]
            self[name] = family.source(str(folder)).load()
            return self[name]

    return Loaded()


@pytest.fixture(params=FAMILIES)
def member(request: pytest.FixtureRequest, shelf: Any, loaded: Any) -> tuple[Path, Family, Any]:
    return *shelf[request.param], loaded[request.param]


def wide_images(count: int = 2) -> Tensor:
    """Smooth pictures of 80 by 112 pixels: pure noise is all the same after a resize."""
    generator = torch.Generator().manual_seed(7)
    coarse = torch.randint(0, 256, (count, 3, 5, 7), generator=generator).float()
    smooth = functional.interpolate(coarse, (80, 112), mode="bicubic").clamp(0, 255)
    return smooth.to(torch.uint8)


def pictures(images: Tensor) -> list[Image.Image]:
    return [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]


def unit(embedding: Tensor) -> Tensor:
    return functional.normalize(embedding.float(), dim=-1)


@pytest.mark.every_nth(6)
def test_image_features_equal_the_original_from_the_same_pictures(member: Any) -> None:
    _, family, model = member
    images = wide_images()
    with torch.no_grad():
        truth = unit(family.image(pictures(images)))
        ours = model.encode_image(model.preprocess(images))
    torch.testing.assert_close(ours, truth, atol=1e-5, rtol=0)
    assert ours.std(dim=0).max() > 1e-3  # the pictures are told apart, so equality means something


@pytest.mark.slow
def test_text_features_equal_the_original_with_its_own_tokenizer(member: Any) -> None:
    _, family, model = member
    if family.text is None:
        pytest.skip("an image tower alone")
    with torch.no_grad():
        truth = unit(family.text(SENTENCES))
    ours = model.encode_text(SENTENCES)
    torch.testing.assert_close(ours, truth, atol=1e-5, rtol=0)
    assert ours.std(dim=0).max() > 1e-3


@pytest.mark.slow
def test_features_do_not_depend_on_the_batch(member: Any) -> None:
    _, family, model = member
    pixels = model.preprocess(wide_images())
    with torch.no_grad():
        alone = torch.cat([model.encode_image(pixels[row : row + 1]) for row in range(2)])
        torch.testing.assert_close(model.encode_image(pixels), alone, atol=1e-5, rtol=0)
    if family.text is not None:
        alone = torch.cat([model.encode_text([sentence]) for sentence in SENTENCES])
        torch.testing.assert_close(model.encode_text(SENTENCES), alone, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_a_run_leaves_the_model_as_it_was_and_in_eval_mode(member: Any) -> None:
    model = member[2]
    before = module_fingerprint(model)
    images = wide_images()
    batcher = MicroBatcher(model, micro_batch=2)
    first = torch.cat([*batcher.push(images), *batcher.flush()])
    second = torch.cat([*batcher.push(images), *batcher.flush()])
    assert torch.equal(first, second)
    assert not any(module.training for module in model.modules())
    assert module_fingerprint(model) == before


@pytest.mark.every_nth(6)
def test_mean_and_deviation_are_applied_exactly_once(member: Any) -> None:
    model = member[2]
    described = model.preprocess.description()
    mean, std = (torch.tensor(described[key]).view(3, 1, 1) for key in ("mean", "std"))
    grey = torch.full((1, 3, 90, 90), 77, dtype=torch.uint8)
    seen = []
    hook = model.visual_encoder.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append((*args, *kwargs.values())[0]), with_kwargs=True
    )
    with torch.no_grad():
        model.encode_image(model.preprocess(grey))
    hook.remove()
    torch.testing.assert_close(seen[0] * std + mean, torch.full_like(seen[0], 77 / 255))


@pytest.mark.every_nth(6)
def test_another_class_order_permutes_the_logits_and_nothing_else(member: Any) -> None:
    _, family, model = member
    if family.text is None:
        pytest.skip("an image tower alone")
    texts = [["a photo of a cyst"], ["the normal lung", "no mass"], ["severe disease of chest"]]
    order = [2, 0, 1]
    with torch.no_grad():
        features = model.encode_image(model.preprocess(wide_images()))
    logits = [
        ZeroShotHead(class_features(model, chosen), None, model.logit_scale).logits(features)
        for chosen in (texts, [texts[label] for label in order])
    ]
    assert torch.equal(logits[0][:, order], logits[1])


FIRST_OF_ITS_SOURCE = {
    *("clip", "biomedclip", "medclip_vit", "cxr_clip_swin", "pmc_clip", "robustmedclip_vit"),
    *("gloria", "keep", "biovil", "siglip", "dinov2", "timm_resnet", "retfound_mae", "sam"),
    "conch",
}
"""Families whose files no other one before them has read by the same class."""
DAMAGED = [
    pytest.param(
        name,
        damage,
        marks=()
        if damage == "missing" or (damage != "renamed" and name in FIRST_OF_ITS_SOURCE)
        else pytest.mark.slow,
    )
    for name in FAMILIES
    for damage in ("missing", "extra", "renamed", "shape")
]


@pytest.mark.every_nth(12)
@pytest.mark.parametrize(("name", "damage"), DAMAGED)
def test_a_checkpoint_that_does_not_fit_is_refused_by_key(
    shelf: Any, tmp_path: Path, name: str, damage: str
) -> None:
    """A renamed key is a missing one and an extra one, each of which stops a model by itself.

    A family lacks its own keys; what is too much, or has another shape, its class finds.
    """
    folder, family = shelf[name]
    for path in folder.iterdir():
        if path.name != family.weights:
            (tmp_path / path.name).symlink_to(path)
    asked = {"missing": family.keys, "extra": family.keys[:1]}
    for key in asked.get(damage, family.keys[-1:]):
        content, state = read(folder / family.weights, family.entry)
        named = key.removeprefix("module.")
        if damage == "missing":
            del state[key]
        elif damage == "renamed":
            state[f"{key}x"] = state.pop(key)
        elif damage == "extra":
            state[f"{key}.extra"] = torch.zeros(2)
            named += ".extra"
        else:
            state[key] = torch.zeros(7, 5)
        write(tmp_path / family.weights, content)
        with pytest.raises(WeightsMismatchError) as caught:
            family.source(str(tmp_path)).load()
        assert named in str(caught.value)


def read(path: Path, entry: str | None) -> tuple[Any, dict[str, Tensor]]:
    """Return the whole content of a checkpoint, and the table of tensors within."""
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        state = load_file(path)
        return state, state
    content = torch.load(path, weights_only=False)  # this test wrote it, settings and all
    return content, content if entry is None else content[entry]


def write(path: Path, content: Any) -> None:
    if path.suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file(content, path)
    else:
        torch.save(content, path)


@pytest.mark.parametrize("name", FAMILIES)
def test_without_network_one_sentence_names_the_files_and_what_to_do(shelf: Any, name: str) -> None:
    _, family = shelf[name]
    with pytest.raises(WeightsNotFoundError) as caught:
        family.source(None).load()
    for part in (family.weights, "model.local_dir=FOLDER"):
        assert part in str(caught.value)


@pytest.mark.slow
def test_every_key_of_the_checkpoint_is_accounted_for(member: Any) -> None:
    folder, family, model = member
    _, state = read(folder / family.weights, family.entry)
    assert model.report.used + len(model.report.dropped) == len(state) + family.elsewhere
    assert all(model.report.dropped.values())


@pytest.mark.slow
def test_another_file_or_option_makes_another_fingerprint(member: Any, tmp_path: Path) -> None:
    folder, family, _ = member
    shutil.copytree(folder, tmp_path / "copy")
    before = family.source(str(folder)).weights_fingerprint()
    assert family.source(str(tmp_path / "copy")).weights_fingerprint() == before
    with (tmp_path / "copy" / family.weights).open("ab") as file:
        file.write(b"x")
    assert family.source(str(tmp_path / "copy")).weights_fingerprint() != before
