"""What holds for every adapter on every family: no-op, gradients, round trips, freezing."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import write_random_biomedclip, write_random_clip
from families import FAMILIES
from open_clip.modified_resnet import AttentionPool2d
from torch import nn

from medrobust.adapters import Lora, Tunable, Tuned, WeightTuning
from medrobust.adapters.artifact import artifact_files
from medrobust.exceptions import ConfigurationError, WeightsMismatchError
from medrobust.models import OpenClip, OwnModel, PhantomClip, TransformersClip
from medrobust.models.own import module_fingerprint
from medrobust.tuning.guards import frozen_digests

QKV, CONV = ("q", "k", "v"), ("conv",)


@dataclass(frozen=True)
class Member:
    """A family, and which of its modules are to be adapted."""

    load: Callable[[], Any]
    targets: tuple[str, ...]
    touched: int
    size: int = 224


@pytest.fixture(scope="session")
def members(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Callable[[], Member]]:
    def clip() -> Member:
        folder = tmp_path_factory.mktemp("clip")
        write_random_clip(folder)
        source = TransformersClip("clip", "nobody/nothing", local_dir=str(folder))
        return Member(source.load, QKV, 2 * 3)

    def biomedclip() -> Member:
        folder = tmp_path_factory.mktemp("biomedclip")
        write_random_biomedclip(folder)
        source = OpenClip("biomedclip", "nobody/nothing", local_dir=str(folder))
        return Member(source.load, QKV, 6 * 3, 160)

    def rn50() -> Member:
        folder = tmp_path_factory.mktemp("rn50")
        family = FAMILIES["open_clip_rn50"](folder)
        return Member(family.source(str(folder)).load, CONV, 0, 64)

    return {
        "phantomclip": lambda: Member(PhantomClip().load, (*QKV, "out"), 3 * 4),
        "clip": clip,
        "biomedclip": biomedclip,
        "rn50": rn50,
    }


SHELF: dict[str, Member] = {}


def copies(load: Callable[[], Any]) -> Callable[[], Any]:
    """Read the files once, and share the tokenizer: it takes longer than all that is done else."""
    once = cache(load)

    def copied() -> Any:
        model = once()
        return deepcopy(model, {id(model.tokenizer): model.tokenizer})

    return copied


NAMES = ("lora", "rslora", "dora", "norm", "full")
REPEATED = {
    *(("clip", name) for name in ("rslora", "dora", "norm")),
    *(("biomedclip", name) for name in ("rslora", "norm", "full")),
    ("rn50", "rslora"),
}
"""Families of the same layers as another one whose recipe is asked by default."""
ASKED = [
    pytest.param(family, name, marks=pytest.mark.slow if (family, name) in REPEATED else ())
    for family in ("phantomclip", "clip", "biomedclip", "rn50")
    for name in NAMES
]


@pytest.fixture
def member(family: str, members: Any) -> Member:
    if family not in SHELF:
        made = members[family]()
        SHELF[family] = replace(made, load=copies(made.load))
    return SHELF[family]


def recipes(targets: tuple[str, ...]) -> dict[str, Tunable]:
    return {
        "lora": Lora(rank=2, alpha=4, targets=targets),
        "rslora": Lora(rank=2, alpha=4, targets=targets, variant="rslora"),
        "dora": Lora(rank=2, alpha=4, targets=targets, variant="dora"),
        "norm": WeightTuning(which="norm"),
        "full": WeightTuning(which="all"),
    }


def pixels(member: Member, count: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(count, 3, member.size, member.size, generator=generator)


def moved(model: nn.Module, recipe: Tunable) -> None:
    """Give what is trained values that training could have given."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.add_(0.02 * noise)


def record(recipe: Tunable) -> dict[str, Any]:
    base = {"name": "x", "weights": "0" * 64, "source": "nobody/nothing"}
    base |= {"revision": "", "license": "MIT"}
    kind = recipe.description()["kind"]
    plain: dict[str, Any] = {"task": {}, "prompts": {}, "data": [], "metrics": {}, "versions": {}}
    return {"name": "n", "kind": kind, "recipe": recipe.description(), "base": base, **plain}


@pytest.mark.every_nth(5)
@pytest.mark.parametrize(("family", "name"), ASKED)
def test_an_adapter_keeps_its_contract(member: Member, name: str, tmp_path: Path) -> None:
    recipe = recipes(member.targets)[name]
    model = member.load()
    print_ = module_fingerprint(model)
    images = pixels(member)
    with torch.no_grad():
        base = model.encode_image(images)
    touched = recipe.attach(model, seed=1)
    assert touched
    assert name in ("norm", "full") or member.touched in (0, len(touched))
    assert not model.training
    with torch.no_grad():
        assert torch.equal(model.encode_image(images), base), "a no-op at first"
    trained = [n for n, p in model.named_parameters() if p.requires_grad]
    assert all(n.startswith("visual_encoder.") for n in trained)

    moved(model, recipe)
    frozen = frozen_digests(model)
    features = model.encode_image(images)
    weights = torch.linspace(-1, 1, features.numel()).view_as(features)
    (features * weights).sum().backward()
    silent = [n for n, p in recipe.must_move(model).items() if not p.grad.abs().sum() > 0]
    assert not silent
    if name in ("lora", "rslora", "dora"):
        halves = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
        assert not halves
    assert frozen_digests(model) == frozen, "the forward pass moves no statistic"
    tuned = features.detach()
    assert (tuned - base).abs().max() > 1e-4, "otherwise equality below means nothing"

    state = recipe.state(model)
    for file, content in artifact_files(recipe, model, state, record(recipe)).items():
        (tmp_path / file).write_bytes(content)
    again = Tuned(str(tmp_path)).attach(member.load())
    with torch.no_grad():
        torch.testing.assert_close(again.encode_image(images), tuned, atol=1e-5, rtol=0)
    assert set(again.state_dict()) == set(member.load().state_dict()), "nothing is left beside"

    half = Tuned(str(tmp_path), interpolation=0.0).attach(member.load())
    with torch.no_grad():
        torch.testing.assert_close(half.encode_image(images), base, atol=1e-6, rtol=0)

    recipe.detach(model)
    assert module_fingerprint(model) == print_, "detached, it is the model of before"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "targets", "count"),
    [
        ("open_clip_vit", QKV, 2 * 3),
        ("medclip_vit", QKV, 3 * 3),
        ("siglip", QKV, 2 * 3),
        ("dinov2", QKV, 2 * 3),
        ("timm_resnet", CONV, 9),
    ],
)
def test_parts_are_found_in_every_layout(
    family: str, targets: tuple[str, ...], count: int, tmp_path: Path
) -> None:
    model = FAMILIES[family](tmp_path).source(str(tmp_path)).load()
    touched = Lora(rank=2, targets=targets).attach(model)
    assert len(touched) == count
    trained = [name for name, value in model.named_parameters() if value.requires_grad]
    assert len(trained) == 2 * count


def test_a_librarys_own_tower_is_adapted_on_its_image_side_alone(tmp_path: Path) -> None:
    model = FAMILIES["open_clip_library"](tmp_path).source(str(tmp_path)).load()
    image_side = r"visual_encoder\.model\.visual\..*c_fc"
    assert len(Lora(rank=2, modules=image_side).attach(model)) == 2
    with pytest.raises(ConfigurationError, match="has no such parts"):
        Lora(targets=QKV).attach(model)
    with pytest.raises(ConfigurationError, match="outside the image tower"):
        Lora(modules=r".*c_proj").attach(model)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lora", "dora"])
def test_peft_itself_loads_the_folder(name: str, tmp_path: Path) -> None:
    from peft import PeftModel

    recipe, member = recipes(QKV)[name], Member(PhantomClip().load, QKV, 9)
    model = member.load()
    recipe.attach(model)
    moved(model, recipe)
    files = artifact_files(recipe, model, recipe.state(model), record(recipe))
    for file, content in files.items():
        (tmp_path / file).write_bytes(content)
    loaded = PeftModel.from_pretrained(member.load(), str(tmp_path)).eval()
    images = pixels(member)
    with torch.no_grad():
        expected = model.encode_image(images)
        torch.testing.assert_close(loaded.encode_image(images), expected, atol=1e-6, rtol=0)
        merged = loaded.merge_and_unload()
        torch.testing.assert_close(merged.encode_image(images), expected, atol=1e-5, rtol=0)
    assert b"phantomclip" not in files["adapter_config.json"]
    assert sum(map(len, files.values())) < 200_000


def test_a_folder_that_peft_has_saved_is_taken_if_it_fits_exactly(tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=2, target_modules=r"visual_encoder\..*\.attention\.v_proj")
    made = get_peft_model(PhantomClip().load(), config)
    moved(made, Lora())
    made.save_pretrained(str(tmp_path / "ours"), save_embedding_layers=False)
    images = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        expected = made.eval().encode_image(images)
        found = Tuned(str(tmp_path / "ours")).attach(PhantomClip().load()).encode_image(images)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    with pytest.raises(WeightsMismatchError, match="Nothing was loaded"):
        Tuned(str(tmp_path / "ours")).attach(PhantomClip(variant="small").load())


def test_rank_16_on_q_k_and_v_of_a_base_vision_transformer_trains_884736_weights() -> None:
    from medrobust.models.open_clip_towers import TimmVision

    with torch.device("meta"):
        sizes = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}
        model = nn.Module()
        model.visual_encoder = TimmVision(sizes | {"intermediate_size": 3072}, 512)
        touched = Lora(rank=16).attach(model)
    counted = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert (len(touched), counted) == (36, 884_736)
    assert touched[0] == "visual_encoder.trunk.layers.0.attention.q_proj"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "touched", "count"),
    [
        (Lora(rank=8, targets=CONV), 48, 588_288),
        (
            Lora(rank=8, modules=r"visual_encoder\.model\.(conv1|layer\d\.\d+\.conv[123])"),
            49,
            589_976,
        ),
    ],
    ids=["blocks", "blocks and stem"],
)
def test_the_stem_of_a_resnet_50_is_adapted_where_it_is_named(
    recipe: Lora, touched: int, count: int
) -> None:
    """RobustMedCLIP adapts 49 convolutions, the stem among them; `conv` those of the blocks."""
    from medrobust.models.medclip import resnet

    with torch.device("meta"):
        model = nn.Module()
        model.visual_encoder = nn.Module()
        model.visual_encoder.model = resnet([3, 4, 6, 3], 512)
        names = recipe.attach(model)
    counted = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert (len(names), counted) == (touched, count)


def test_alpha_scales_the_update_by_the_rank_or_its_root() -> None:
    scales = {}
    for variant in ("lora", "rslora"):
        model = PhantomClip().load()
        Lora(rank=4, alpha=6, variant=variant).attach(model)
        scales[variant] = model.visual_encoder.blocks[0].attention.q_proj.scaling["default"]
    assert scales == {"lora": 1.5, "rslora": 3.0}


class Fused(nn.Module):
    """A tower that peft would accept and ignore: it reads the weights of `out_proj` directly."""

    def __init__(self) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(8, 2)
        self.last = nn.LayerNorm(8)


def test_targets_that_peft_would_ignore_are_refused() -> None:
    model = nn.Module()
    model.visual_encoder = Fused()
    with pytest.raises(ConfigurationError, match="reads its weights directly"):
        Lora(modules=r"visual_encoder\.attn\.out_proj").attach(model)
    with pytest.raises(ConfigurationError, match="LayerNorm"):
        Lora(modules=r"visual_encoder\.last").attach(model)
    model.visual_encoder = nn.ModuleDict({"attnpool": AttentionPool2d(7, 8, 2, 8)})
    with pytest.raises(ConfigurationError, match=r"AttentionPool2d, which reads its weights"):
        Lora(modules=r"visual_encoder\.attnpool\.c_proj").attach(model)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"targets": ("conv",)}, "has no such parts"),
        ({"targets": ("query",)}, "unknown part"),
        ({"modules": "nothing"}, "names no module"),
        ({"modules": r"text_encoder\..*q_proj"}, "outside the image tower"),
        ({"rank": 0}, "rank=0"),
        ({"variant": "qlora"}, "variant='qlora'"),
    ],
)
def test_what_cannot_be_adapted_is_refused_in_a_sentence(
    options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises((ConfigurationError, LookupError), match=complaint):
        Lora(**options).attach(PhantomClip().load())


def test_the_same_seed_gives_the_same_first_values_and_leaves_the_global_stream_alone() -> None:
    states = []
    before = torch.random.get_rng_state()
    for seed in (0, 0, 1):
        model = PhantomClip().load()
        recipe = Lora(rank=2)
        recipe.attach(model, seed=seed)
        states.append(recipe.state(model))
    assert torch.equal(torch.random.get_rng_state(), before)
    name = next(iter(states[0]))
    assert all(torch.equal(states[0][n], states[1][n]) for n in states[0])
    assert not torch.equal(states[0][name], states[2][name])


def test_an_own_dual_encoder_has_to_name_its_image_side() -> None:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.visual = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
            self.text = nn.Linear(2, 4)
            self.logit_scale = 10.0

        def encode_image(self, images: torch.Tensor) -> torch.Tensor:
            return self.visual(images)

        def encode_text(self, sentences: list[str]) -> torch.Tensor:
            return self.text(torch.tensor([[len(s), 1.0] for s in sentences]))

    model = OwnModel(Encoder()).load()
    assert Lora(rank=2, modules=r"encoder\.visual\.1").attach(model) == ("encoder.visual.1",)
