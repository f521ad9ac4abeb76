"""What is peculiar to single image towers: pickles, poolings, published sizes, ranges of MedSAM."""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import encoders
import numpy as np
import pytest
import torch
from PIL import Image

from medrobust.exceptions import ConfigurationError, UnknownNameError, WeightsMismatchError
from medrobust.models import TimmCheckpoint
from medrobust.models.architectures import table, tower
from medrobust.models.preprocess import Preprocess
from medrobust.models.range_preprocess import RangePreprocess
from medrobust.models.timm_checkpoint import build
from medrobust.tasks.map_view import view_of

WHOLE = 1e-3


def source(folder: Path, weights: str, config: str = "") -> TimmCheckpoint:
    config = config or str(folder / "architecture.json")
    return TimmCheckpoint("tower", "a/b", local_dir=str(folder), config=config, weights=weights)


@pytest.fixture(scope="module")
def retfound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("retfound")
    encoders.retfound_mae(folder)
    return folder


@pytest.mark.every_nth(4)
@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("retfound_mae", 303.3),
        ("retfound_dinov2", 303.2),
        ("lvm_med_resnet50", 23.5),
        ("sam_vit_b", 89.7),
        ("uni", 303.4),
        ("uni2_h", 681.4),
        ("virchow", 631.2),
        ("virchow2", 631.2),
        ("preti", 85.8),
    ],
)
def test_published_sizes_are_met_on_the_meta_device(name: str, millions: float) -> None:
    count = sum(parameter.numel() for parameter in build(tower(name)).parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.06)


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> object:
        return os.system, (f"touch {self.witness}",)


def test_a_pickle_with_code_stays_closed_and_is_never_run(tmp_path: Path) -> None:
    encoders.retfound_mae(tmp_path)
    name, witness = "RETFound_mae_natureCFP.pth", tmp_path / "witness"
    content = torch.load(tmp_path / name, weights_only=False)
    torch.save(content | {"args": Payload(witness)}, tmp_path / name)
    with pytest.raises(WeightsMismatchError, match=r"system, which is not on the list of harmless"):
        source(tmp_path, name).load()
    assert not witness.exists()


def test_another_layout_is_one_sentence_that_names_what_was_looked_for(
    retfound: Path, tmp_path: Path
) -> None:
    name = "RETFound_mae_natureCFP.pth"
    content = torch.load(retfound / name, weights_only=False)
    torch.save({"teacher": content["model"]}, tmp_path / name)
    config = str(retfound / "architecture.json")
    with pytest.raises(WeightsMismatchError, match="has no tensors under 'model'"):
        source(tmp_path, name, config).load()
    torch.save(content["model"], tmp_path / name)  # bare, as some mirrors have it
    assert source(tmp_path, name, config).load().report.used == 28


def test_a_tuned_retfound_keeps_its_own_pooling_norm(retfound: Path, tmp_path: Path) -> None:
    name = "RETFound_mae_natureCFP.pth"
    content = torch.load(retfound / name, weights_only=False)
    state = {k: v for k, v in content["model"].items() if not k.startswith(("norm.", "decoder"))}
    scale = torch.linspace(0.5, 2, 32)
    state |= {"fc_norm.weight": scale, "fc_norm.bias": torch.zeros(32)}
    state |= {"head.weight": torch.zeros(5, 32), "head.bias": torch.zeros(5)}
    torch.save({"model": state, "args": argparse.Namespace()}, tmp_path / name)
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    config = str(retfound / "architecture.json")
    plain, tuned = source(retfound, name).load(), source(tmp_path, name, config).load()
    with torch.no_grad():
        torch.testing.assert_close(tuned.embed_image(pixels), plain.embed_image(pixels) * scale)
    assert "plain norm" in plain.report.dropped["norm.weight"]
    assert not any("norm." in key for key in tuned.report.dropped)


def test_settings_beside_the_tensors_change_the_file_and_no_feature(
    retfound: Path, tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    name = "RETFound_mae_natureCFP.pth"
    state = torch.load(retfound / name, weights_only=False)["model"]
    save_file({k: v.contiguous() for k, v in state.items()}, tmp_path / f"{name[:-4]}.safetensors")
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    config = str(retfound / "architecture.json")
    with torch.no_grad():
        converted = source(tmp_path, name, config).load().embed_image(pixels)
        assert torch.equal(converted, source(retfound, name).load().embed_image(pixels))


def test_an_unknown_architecture_offers_the_near_ones() -> None:
    with pytest.raises(UnknownNameError, match="retfound_mae"):
        TimmCheckpoint("t", "a/b", config="retfond_mae").options()


def test_an_unknown_feature_is_refused_by_name(retfound: Path, tmp_path: Path) -> None:
    stated = json.loads((retfound / "architecture.json").read_text()) | {"feature": "median"}
    (tmp_path / "other.json").write_text(json.dumps(stated))
    with pytest.raises(WeightsMismatchError, match="names the feature 'median', none of"):
        source(retfound, "RETFound_mae_natureCFP.pth", str(tmp_path / "other.json")).load()


def test_a_config_that_is_stated_otherwise_makes_another_fingerprint(
    retfound: Path, tmp_path: Path
) -> None:
    stated = json.loads((retfound / "architecture.json").read_text())
    stated["preprocess"]["interpolation"] = "bilinear"
    (tmp_path / "other.json").write_text(json.dumps(stated))
    name = "RETFound_mae_natureCFP.pth"
    other = source(retfound, name, str(tmp_path / "other.json"))
    assert other.weights_fingerprint() != source(retfound, name).weights_fingerprint()


def test_another_input_size_than_the_published_one_is_refused(retfound: Path) -> None:
    asked = source(retfound, "RETFound_mae_natureCFP.pth")
    asked.resolution = 224
    with pytest.raises(ConfigurationError, match="ask for 64 pixels"):
        asked.load()


def test_every_reason_of_a_dropped_key_is_a_sentence_and_every_size_stated() -> None:
    for name, stated in table("tower").items():
        assert all(len(reason) > 10 for reason in stated.get("drops", {}).values()), name
        assert stated["preprocess"]["size"] in (224, 1024), name


def test_medsam_scales_every_image_by_its_own_range() -> None:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(40, 180, (2, 3, 16, 16), dtype=torch.uint8, generator=generator)
    images[1] = 77
    pixels = RangePreprocess(16)(images)
    low, high = images[0].min().float(), images[0].max().float()
    torch.testing.assert_close(pixels[0], (images[0].float() - low) / (high - low))
    assert torch.equal(pixels[1], torch.zeros(3, 16, 16))
    assert RangePreprocess(32)(images[:, :1]).shape == (2, 3, 32, 32)


def test_maps_of_medsam_lie_over_whole_images() -> None:
    assert view_of(RangePreprocess(64), 224).zoom == 1


def test_medsam_runs_sams_encoder_behind_its_own_scaling(tmp_path: Path) -> None:
    model, state = encoders.sam_original()
    prefixed = {f"image_encoder.{key}": value for key, value in state.items()}
    torch.save(prefixed, tmp_path / "medsam_vit_b.pth")
    config = encoders.small(tmp_path, "medsam_vit_b", **encoders.SMALL_SAM)
    ours = source(tmp_path, "medsam_vit_b.pth", config).load()
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(40, 180, (2, 3, 64, 64), dtype=torch.uint8, generator=generator)
    values = images.float()
    low, high = values.amin((1, 2, 3), True), values.amax((1, 2, 3), True)
    with torch.no_grad():
        truth = model((values - low) / (high - low)).last_hidden_state.mean((2, 3))
        torch.testing.assert_close(
            ours.embed_image(ours.preprocess(images)), truth, atol=1e-5, rtol=0
        )


def test_sams_margin_is_zero_after_normalisation_and_on_the_right_and_below() -> None:
    fit = Preprocess(64, (0.4, 0.5, 0.6), (0.2, 0.2, 0.2), "bilinear", fit="longest")
    wide = torch.full((1, 3, 20, 40), 9, dtype=torch.uint8)
    pixels = fit(wide)
    assert pixels.shape == (1, 3, 64, 64)
    assert torch.equal(pixels[..., 32:, :], torch.zeros(1, 3, 32, 64))
    assert pixels[..., :32, :].abs().min() > WHOLE
    tall = fit(wide.mT)
    assert torch.equal(tall[..., :, 32:], torch.zeros(1, 3, 64, 32))


def test_a_square_image_is_squashed_alike_by_either_fit() -> None:
    generator = torch.Generator().manual_seed(1)
    image = torch.randint(0, 256, (1, 3, 50, 50), dtype=torch.uint8, generator=generator)
    longest, squash = (
        Preprocess(64, (0.5,) * 3, (0.2,) * 3, "bilinear", fit=fit) for fit in ("longest", "squash")
    )
    assert torch.equal(longest(image), squash(image))


def test_conchs_probes_stop_before_the_joint_space(tmp_path: Path) -> None:
    family = encoders.conch(tmp_path)
    joint = family.source(str(tmp_path))
    apart = family.source(str(tmp_path))
    apart.joint = False
    whole, tower_alone = joint.load(), apart.load()
    picture = Image.effect_noise((64, 64), 80).convert("RGB")
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
    with torch.no_grad():
        first = whole.embed_image(whole.preprocess(pixels))
        before: Any = tower_alone.embed_image(tower_alone.preprocess(pixels))
        projected = before @ whole.visual_encoder.proj_contrast
    torch.testing.assert_close(projected, first)
    assert not hasattr(tower_alone, "encode_text")
    assert joint.weights_fingerprint() != apart.weights_fingerprint()


def test_a_vocabulary_without_conchs_marks_is_refused(tmp_path: Path) -> None:
    family = encoders.conch(tmp_path)
    words = tmp_path / "conch_byte_level_bpe_uncased.json"
    words.write_text(words.read_text().replace("<pad>", "<void>"))
    with pytest.raises(WeightsMismatchError, match="has no <pad>"):
        family.source(str(tmp_path)).load()
