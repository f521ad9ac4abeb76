import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from medrobust.datasets.phantoms.source import Phantoms
from medrobust.exceptions import ConfigurationError, WeightsMismatchError, WeightsNotFoundError
from medrobust.models import PhantomClip, phantomclip
from medrobust.models.phantomclip import ARCHITECTURES, PhantomCLIP
from medrobust.models.tokenizer import read_tokenizer
from medrobust.models.zero_shot import class_features

VARIANTS = ("base", "small")


@pytest.fixture(scope="module", params=VARIANTS)
def model(request: pytest.FixtureRequest) -> PhantomCLIP:
    return PhantomClip(variant=request.param).load()


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The weights folder, copied to where a test may spoil it."""
    folder = tmp_path / "weights"
    shutil.copytree(phantomclip.WEIGHTS, folder)
    monkeypatch.setattr(phantomclip, "WEIGHTS", folder)
    return folder / "phantomclip_base.safetensors"


def test_features_are_float32_of_unit_norm(model: PhantomCLIP, images: torch.Tensor) -> None:
    pixels = model.encode_image(model.preprocess(images))
    words = model.encode_text(["drusen on retinal oct", "a benign mass"])
    for features, count in ((pixels, 5), (words, 2)):
        assert features.shape == (count, 64)
        assert features.dtype == torch.float32
        torch.testing.assert_close(features.norm(dim=1), torch.ones(count))


def test_features_do_not_depend_on_the_images_beside(
    model: PhantomCLIP, images: torch.Tensor
) -> None:
    pixels = model.preprocess(images)
    together = model.encode_image(pixels)
    alone = torch.cat([model.encode_image(pixels[row : row + 1]) for row in range(len(pixels))])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_text_features_do_not_depend_on_the_sentences_beside(model: PhantomCLIP) -> None:
    long = "findings: broad dome lifting the pigment epithelium on optical coherence tomography"
    together = model.encode_text(["drusen", long])
    torch.testing.assert_close(together[:1], model.encode_text(["drusen"]), atol=1e-5, rtol=0)


@pytest.mark.slow
def test_the_demonstration_models_read_phantoms_and_the_small_one_is_worse(tmp_path: Path) -> None:
    images = Phantoms(per_class=6, cache_dir=str(tmp_path)).load()
    pixels = torch.from_numpy(np.array(images.images)).permute(0, 3, 1, 2)
    accuracy = {}
    for variant in VARIANTS:
        model = PhantomClip(variant=variant).load()
        classes = class_features(model, [[f"an image of {text}"] for text in images.texts])
        guesses = (model.encode_image(model.preprocess(pixels)) @ classes.T).argmax(dim=1)
        accuracy[variant] = float((guesses.numpy() == images.labels).mean())
    assert accuracy["base"] >= 0.85
    assert 0.3 < accuracy["small"] < accuracy["base"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda state: state.pop("visual_encoder.norm.bias"), "Missing: visual_encoder.norm.bias"),
        (lambda state: state.update(spare=torch.ones(1)), "Left over: spare"),
        (
            lambda state: state.update({"visual_encoder.norm.bias": torch.ones(7)}),
            r"visual_encoder.norm.bias has the shape \(7,\)",
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(
    copy: Path, change: object, complaint: str
) -> None:
    state = load_file(copy)
    change(state)
    save_file(state, copy)
    with pytest.raises(WeightsMismatchError, match=complaint):
        PhantomClip().load()


def test_a_package_without_weights_is_refused(copy: Path) -> None:
    copy.unlink()
    with pytest.raises(WeightsNotFoundError, match=r"phantomclip_base\.safetensors should be"):
        PhantomClip().load()


def test_other_weights_have_another_fingerprint(copy: Path) -> None:
    before = PhantomClip().weights_fingerprint()
    state = load_file(copy)
    state["visual_encoder.norm.bias"] += 1
    save_file(state, copy)
    assert PhantomClip().weights_fingerprint() != before
    assert PhantomClip(variant="small").weights_fingerprint() != before


def test_every_tensor_of_the_file_is_used_under_its_own_name(model: PhantomCLIP) -> None:
    assert model.report.used == len(model.state_dict())
    assert not model.report.renamed
    assert not model.report.dropped
    assert not model.training
    assert model.logit_scale == pytest.approx(float(model.log_logit_scale.detach().exp()))


def test_projections_have_the_names_that_lora_looks_for(model: PhantomCLIP) -> None:
    leaves = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    assert {"q_proj", "k_proj", "v_proj", "out_proj"} <= leaves


@pytest.mark.parametrize("sentence", ["hard exudates on fundus photography", "ödem, 3 µm: 漢字?"])
def test_the_tokenizer_gives_back_what_it_took(sentence: str) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(phantomclip.TOKENIZER))
    assert tokenizer.decode(tokenizer.encode(sentence).ids).strip() == sentence
    assert tokenizer.encode("Drusen").ids == tokenizer.encode("drusen").ids


def test_long_sentences_are_cut_to_the_context() -> None:
    context = ARCHITECTURES["base"].context
    ids, mask = read_tokenizer(phantomclip.TOKENIZER, context, "<pad>")(["mass " * 100, "mass"])
    assert ids.shape == (2, context)
    assert mask.sum(dim=1).tolist()[0] == context
    assert int(mask[1].sum()) < context


def test_the_packaged_files_are_small() -> None:
    assert sum(file.stat().st_size for file in phantomclip.WEIGHTS.iterdir()) <= 5_000_000


def test_an_unknown_variant_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"model\.variant='large'"):
        PhantomClip(variant="large")


def test_what_is_no_sentence_is_refused_in_one_of_ours() -> None:
    model = PhantomClip(variant="small").load()
    with pytest.raises(ConfigurationError, match="it is empty"):
        model.encode_text([])
    with pytest.raises(TypeError, match="number 1 is a NoneType"):
        model.encode_text(["a cell", None])  # type: ignore[list-item]
    with pytest.raises(ConfigurationError, match=r"bytes that are no UTF-8: .*LC_ALL=C\.UTF-8"):
        model.encode_text(["caf\udce9"])
