"""Residual adapters in two branches: an exact no-op, counted, by hand, and whole on disk."""

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from families import FAMILIES
from torch import Tensor, nn
from torch.nn import functional

from medrobust.adapters import Mvfa, Tuned
from medrobust.adapters.artifact import artifact_files
from medrobust.adapters.residual import FAULTS, default_blocks
from medrobust.exceptions import ConfigurationError, WeightsMismatchError
from medrobust.models import OwnModel, PhantomClip
from medrobust.models.own import module_fingerprint
from medrobust.tuning.guards import frozen_digests

BRANCHES = ("segmentation", "classification")


@pytest.fixture(scope="module")
def small() -> Any:
    return PhantomClip(variant="small").load()


@pytest.fixture
def model(small: Any) -> Any:
    return copy.deepcopy(small)


def pixels(side: int = 112) -> Tensor:
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(3))


def everything(model: Any, images: Tensor, blocks: Any) -> list[Tensor]:
    with torch.no_grad():
        features, patches = model.encode_image_and_patches(images, blocks)
    found = [features]
    for level in patches.values():
        found += [level.states, level.joint(), *level.branches.values()]
    return found


def moved(model: nn.Module) -> None:
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))


@pytest.mark.every_nth(3)
@pytest.mark.parametrize(
    ("name", "side"),
    [("clip", 224), ("siglip", 64), ("biomedclip", 160), ("open_clip_library", 64), ("conch", 64)],
)
def test_zero_adapters_are_the_model_itself_to_the_bit(
    name: str, side: int, tmp_path: Path
) -> None:
    model = FAMILIES[name](tmp_path).source(str(tmp_path)).load()
    before = module_fingerprint(model)
    base = everything(model, pixels(side), [1, 2])
    recipe = Mvfa(blocks=[1, 2], bottleneck=5)
    assert len(recipe.attach(model, seed=1)) == 2
    with torch.no_grad():
        patches = model.encode_patches(pixels(side), [1, 2])
    for level in patches.values():
        for branch in BRANCHES:
            assert torch.equal(level.branches[branch], level.joint())
    now = everything(model, pixels(side), [1, 2])
    plain = [now[0], now[1], now[2], now[5], now[6]]
    assert all(torch.equal(one, two) for one, two in zip(plain, base, strict=True))
    recipe.detach(model)
    assert module_fingerprint(model) == before


@pytest.mark.parametrize("bottleneck", [1, 7])
@pytest.mark.parametrize("blocks", [None, [2], [1, 2]])
def test_parameters_are_those_of_the_layout(model: Any, bottleneck: int, blocks: Any) -> None:
    touched = Mvfa(blocks=blocks, bottleneck=bottleneck).attach(model)
    trained = [value for value in model.parameters() if value.requires_grad]
    width, count = 64, len(blocks or [1, 2])
    each = width * bottleneck + bottleneck + bottleneck * width + width
    assert sum(value.numel() for value in trained) == count * 2 * each
    assert len(touched) == count


def test_the_published_layout_has_the_published_number_of_parameters() -> None:
    from transformers import CLIPConfig, CLIPModel

    from medrobust.models.base import LoadReport
    from medrobust.models.clip import ClipModel
    from medrobust.models.preprocess import Preprocess

    vision = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16}
    vision |= {"intermediate_size": 4, "image_size": 28, "patch_size": 14}
    text = {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 1}
    config = CLIPConfig(vision_config=vision, text_config=text, projection_dim=768)
    preprocess = Preprocess(28, (0.0,) * 3, (1.0,) * 3)
    report = LoadReport("random", {}, 0)
    with torch.device("meta"):
        clip = CLIPModel(config)
    clip.logit_scale = nn.Parameter(torch.zeros(()))  # the only number that is read
    large = ClipModel(clip, tokenizer=None, preprocess=preprocess, report=report)
    touched = Mvfa(form="published").attach(large)
    assert [name.split(".layers.")[1] for name in touched] == [
        f"{block - 1}.branches" for block in (6, 12, 18, 24)
    ]
    trained = sum(value.numel() for value in large.parameters() if value.requires_grad)
    assert trained == 4 * 2 * 2 * 1024 * 768 == 12_582_912


def by_hand(model: Any, recipe: Mvfa, images: Tensor, blocks: list[int]) -> Any:
    """The forward pass of phantomclip with residual adapters, written out."""
    tower, said = model.visual_encoder, []
    tokens = tower.stem(images).flatten(2).transpose(1, 2) + tower.position
    for number, block in enumerate(tower.blocks, 1):
        attended = tokens + block.attention(block.norm_attention(tokens), None)
        tokens = attended + block.mlp(block.norm_mlp(attended))
        if number not in blocks:
            continue
        added, branches = {}, {}
        for name in BRANCHES:
            down, up = block.branches[name].down, block.branches[name].up
            middle = functional.leaky_relu(functional.linear(tokens, down.weight, down.bias), 0.01)
            added[name] = functional.linear(middle, up.weight, up.bias)
            if recipe.form == "published":
                added[name], branches[name] = functional.leaky_relu(added[name], 0.01), middle
            else:
                states = tower.norm(tokens + added[name])
                branches[name] = states @ tower.projection.weight.T
        said.append(branches)
        both = added["segmentation"], added["classification"]
        if recipe.form == "published":
            tokens = 0.8 * tokens + 0.1 * both[0] + 0.1 * both[1]
        else:
            tokens = tokens + recipe.share * (both[0] + both[1])
    feature = functional.normalize(tower.projection(tower.norm(tokens).mean(dim=1)), dim=-1)
    return feature, said


@pytest.mark.parametrize("form", ["residual", "published"])
@pytest.mark.parametrize("blocks", [[1], [2], [1, 2]])
def test_the_forward_pass_is_that_written_by_hand(model: Any, form: Any, blocks: Any) -> None:
    recipe = Mvfa(blocks=blocks, bottleneck=6, share=0.3, form=form)
    recipe.attach(model, seed=2)
    moved(model)
    with torch.no_grad():
        features, patches = model.encode_image_and_patches(pixels(), blocks)
        feature, said = by_hand(model, recipe, pixels(), blocks)
    torch.testing.assert_close(features, feature, atol=1e-5, rtol=1e-5)
    for level, branches in zip(patches.values(), said, strict=True):
        for name in BRANCHES:
            torch.testing.assert_close(level.branches[name], branches[name], atol=1e-5, rtol=1e-5)
    assert list(model.branch_blocks) == blocks


def test_the_published_form_says_its_faults_and_is_another_model_at_once(model: Any) -> None:
    recipe = Mvfa(form="published")
    with torch.no_grad():
        base = model.encode_image(pixels())
        recipe.attach(model)
        assert (model.encode_image(pixels()) - base).abs().max() > 1e-4
    assert recipe.begins_elsewhere
    assert recipe.protocol == FAULTS
    assert not Mvfa().begins_elsewhere
    assert Mvfa().protocol == ()


@pytest.mark.parametrize("form", ["residual", "published"])
def test_gradients_reach_what_must_move_and_nothing_frozen(model: Any, form: Any) -> None:
    recipe = Mvfa(bottleneck=4, form=form)
    recipe.attach(model)
    frozen = frozen_digests(model)
    _, patches = model.encode_image_and_patches(pixels(), [1, 2])
    sum(level.branches["classification"].square().sum() for level in patches.values()).backward()
    must = recipe.must_move(model)
    assert len(must) == 2
    assert all(value.grad.abs().sum() > 0 for value in must.values())
    assert frozen_digests(model) == frozen
    trained = [name for name, value in model.named_parameters() if value.requires_grad]
    assert all(".branches." in name for name in trained)


def written(folder: Path, recipe: Mvfa, model: Any) -> Path:
    plain: dict[str, Any] = {"task": {}, "prompts": {}, "data": [], "metrics": {}, "versions": {}}
    base = {"name": "x", "weights": "0" * 64, "source": "s", "revision": "", "license": "MIT"}
    record = {"name": "n", "kind": "mvfa", "recipe": recipe.description(), "base": base, **plain}
    for file, content in artifact_files(recipe, model, recipe.state(model), record).items():
        (folder / file).write_bytes(content)
    return folder


@pytest.mark.parametrize("form", ["residual", "published"])
def test_an_artifact_is_the_tuned_model_again(
    small: Any, model: Any, form: Any, tmp_path: Path
) -> None:
    recipe = Mvfa(bottleneck=4, share=0.5, form=form)
    recipe.attach(model, seed=1)
    moved(model)
    tuned = everything(model, pixels(), [1, 2])
    tuning = Tuned(str(written(tmp_path, recipe, model)))
    again = tuning.attach(copy.deepcopy(small))
    assert all(
        torch.equal(one, two)
        for one, two in zip(everything(again, pixels(), [1, 2]), tuned, strict=True)
    )
    assert not any(value.requires_grad for value in again.parameters())
    assert set(tuning.description()["files"]) == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    for other in (copy.deepcopy(again), pickle.loads(pickle.dumps(again))):
        assert torch.equal(everything(other, pixels(), [1, 2])[0], tuned[0])
    with pytest.raises(ConfigurationError, match="residual adapters"):
        Tuned(str(tmp_path), interpolation=0.5)


def test_weights_of_another_layout_are_refused(small: Any, model: Any, tmp_path: Path) -> None:
    recipe = Mvfa(bottleneck=4)
    recipe.attach(model)
    state = recipe.state(model)
    other = copy.deepcopy(small)
    Mvfa(bottleneck=5).attach(other)
    with pytest.raises(WeightsMismatchError, match="Of another shape"):
        Mvfa(bottleneck=5).load_state(other, state)
    with pytest.raises(WeightsMismatchError, match="Left over"):
        Mvfa(blocks=[1], bottleneck=4).load_state(attached_to_first(small), state)


def attached_to_first(small: Any) -> Any:
    other = copy.deepcopy(small)
    Mvfa(blocks=[1], bottleneck=4).attach(other)
    return other


@pytest.mark.parametrize(
    "said",
    [
        {"kind": "lora", "blocks": [1]},
        {"kind": "mvfa", "blocks": "all"},
        {"kind": "mvfa", "blocks": [1], "run": "rm"},
        {"kind": "mvfa", "blocks": [1.5]},
        {"kind": "mvfa", "blocks": [1], "form": 3},
    ],
)
def test_other_configurations_are_refused(said: Any) -> None:
    with pytest.raises(WeightsMismatchError, match="describes no residual adapters"):
        Mvfa.described(said, "adapter_config.json")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"bottleneck": 0}, r"adapter\.bottleneck=0"),
        ({"share": 1.5}, r"adapter\.share=1\.5"),
        ({"blocks": []}, r"adapter\.blocks name at least one"),
        ({"form": "paper"}, r"adapter\.form='paper' is none of residual, published"),
    ],
)
def test_numbers_that_no_adapter_can_have_are_named(options: Any, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        Mvfa(**options)


def test_blocks_and_models_that_do_not_fit_are_named(model: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="different ones of 1 to 2"):
        Mvfa(blocks=[1, 3]).attach(model)
    with pytest.raises(ConfigurationError, match="different ones of 1 to 2"):
        Mvfa(blocks=[1, 1]).attach(model)
    classifier = OwnModel(nn.Sequential(nn.Flatten(), nn.Linear(12, 2))).load()
    with pytest.raises(ConfigurationError, match="Classifier has none"):
        Mvfa().attach(classifier)
    for name in ("open_clip_rn50", "dinov2", "medclip_vit"):
        folder = tmp_path / name
        folder.mkdir()
        other = FAMILIES[name](folder).source(str(folder)).load()
        with pytest.raises(ConfigurationError, match="needs a vision transformer"):
            Mvfa().attach(other)


def test_blocks_are_spread_evenly() -> None:
    assert [default_blocks(count) for count in (24, 12, 2, 1)] == [
        [6, 12, 18, 24],
        [3, 6, 9, 12],
        [1, 2],
        [1],
    ]
