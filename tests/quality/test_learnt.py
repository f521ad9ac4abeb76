"""Learnt measures against piq's numbers and torchmetrics' networks, on made-up weights."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics.functional.image import dists as their_dists
from torchmetrics.functional.image.lpips import _LPIPS
from torchvision import models

from medrobust.exceptions import ConfigurationError, WeightsMismatchError, WeightsNotFoundError
from medrobust.quality import ImageQuality, deep, measure
from tests.data.brisque.make import pictures, regression

EXPECTED = json.loads((Path(__file__).parents[1] / "data/brisque/expected.json").read_text())
MODEL, RANGE = "brisque_model_live.yml", "brisque_range_live.yml"


def numbers(values: np.ndarray) -> str:
    return "[ " + ", ".join(f"{v:.17e}" for v in values) + " ]"


def write_brisque(folder: Path, kernel: str = "RBF", rows: int = 36) -> None:
    """Write the two files as OpenCV publishes them."""
    vectors, weights = regression()
    listed = "\n".join(f"      - {numbers(row)}" for row in vectors)
    (folder / MODEL).write_text(
        f"%YAML:1.0\n---\nopencv_ml_svm:\n   format:3\n   svmType: EPS_SVR\n   kernel:\n"
        f"      type: {kernel}\n      gamma: 5.0000000000000003e-02\n   C: 1024.\n   p: 0.5\n"
        f"   var_count: {rows}\n   sv_total: {len(vectors)}\n   support_vectors:\n{listed}\n"
        f"   decision_functions:\n      -\n         sv_count: {len(vectors)}\n"
        f"         rho: -1.5359100000000001e+02\n         alpha: {numbers(weights)}\n"
    )
    limits = np.concatenate([EXPECTED["low"], EXPECTED["high"]])
    (folder / RANGE).write_text(
        f"%YAML:1.0\n---\nrange: !!opencv-matrix\n   rows: 2\n   cols: 36\n   dt: f\n"
        f"   data: {numbers(limits)}\n"
    )


def test_brisque_is_that_of_piq_where_borders_are_black(tmp_path: Path) -> None:
    write_brisque(tmp_path)
    found = measure(torch.from_numpy(pictures()), ["brisque"], local_dir=tmp_path)["brisque"]
    assert found.tolist() == pytest.approx(EXPECTED["scores"], abs=1e-3)  # limits are float32


def test_brisque_has_no_value_for_a_flat_image(tmp_path: Path) -> None:
    write_brisque(tmp_path)
    flat = torch.full((1, 1, 64, 64), 7, dtype=torch.uint8)
    assert measure(flat, ["brisque"], local_dir=tmp_path)["brisque"].isnan().all()


@pytest.mark.parametrize("fault", [{"kernel": "LINEAR"}, {"rows": 18}])
def test_another_regression_is_refused(tmp_path: Path, fault: dict[str, str | int]) -> None:
    write_brisque(tmp_path, **fault)  # type: ignore[arg-type]
    with pytest.raises(WeightsMismatchError, match=r"brisque_model_live\.yml is no support vector"):
        measure(torch.from_numpy(pictures()), ["brisque"], local_dir=tmp_path)


def test_a_file_as_older_releases_of_opencv_write_it_is_read(tmp_path: Path) -> None:
    write_brisque(tmp_path)
    text = (tmp_path / MODEL).read_text()
    for key in ("svmType", "type", "gamma", "var_count", "rho"):
        text = text.replace(f" {key}: ", f" {key}:")
    (tmp_path / MODEL).write_text(text.replace("C: 1024.", "term_criteria:{ iterations:1000 }"))
    found = measure(torch.from_numpy(pictures()), ["brisque"], local_dir=tmp_path)["brisque"]
    assert found.tolist() == pytest.approx(EXPECTED["scores"], abs=1e-3)


@pytest.mark.parametrize("content", ["", "no: [yaml", "\x00\x01", "%YAML:1.0\n---\na: 1\n"])
def test_a_file_that_is_no_regression_is_refused(tmp_path: Path, content: str) -> None:
    write_brisque(tmp_path)
    (tmp_path / MODEL).write_text(content)
    with pytest.raises(WeightsMismatchError, match="brisque_model_live"):
        measure(torch.from_numpy(pictures()), ["brisque"], local_dir=tmp_path)


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    yield
    for cached in (deep._lpips_parts, deep._dists_parts):
        cached.cache_clear()


def made_up(name: str) -> dict[str, Tensor]:
    """Draw tensors for every key of a network; large ones share their storage, to be written fast.

    Convolutions are scaled as at their start, so that features neither vanish nor overflow.
    """
    with torch.device("meta"):
        network = getattr(models, name)(weights=None)
    generator = torch.Generator().manual_seed(3)
    found = {}
    for key, wanted in network.state_dict().items():
        if wanted.ndim < 4:
            found[key] = torch.zeros(1).expand(wanted.shape)
            continue
        _, inner, *window = wanted.shape
        steps = (7, 11, window[1], 1)  # windows of one long row of numbers
        length = 1 + sum(s * (n - 1) for s, n in zip(steps, wanted.shape, strict=True))
        drawn = (
            torch.randn(length, generator=generator) * (2 / (inner * window[0] * window[1])) ** 0.5
        )
        found[key] = drawn.as_strided(wanted.shape, steps)
    return found


def pair() -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(4)
    clean = rng.integers(0, 256, (2, 3, 8, 8), np.uint8).repeat(8, 2).repeat(8, 3)
    noisy = (clean + rng.normal(size=clean.shape) * 20).clip(0, 255).astype(np.uint8)
    return torch.from_numpy(clean), torch.from_numpy(noisy)


def test_lpips_is_that_of_torchmetrics_on_the_same_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = made_up("alexnet")
    torch.save(tensors, tmp_path / "alexnet-owt-7be5be79.pth")
    monkeypatch.setattr(torch.nn.init, "kaiming_uniform_", lambda weight, **_: weight)
    theirs = _LPIPS(net="alex", pnet_rand=True)
    convolutions = [m for m in theirs.net.modules() if isinstance(m, torch.nn.Conv2d)]
    keys = [key for key, value in tensors.items() if value.ndim == 4]
    for layer, key in zip(convolutions, keys, strict=True):
        layer.weight.data = tensors[key].clone()
        layer.bias.data = torch.zeros_like(layer.bias)
    clean, noisy = pair()
    wanted = theirs(clean.float() / 255, noisy.float() / 255, normalize=True).flatten()
    found = measure(noisy, ["lpips"], clean=clean, local_dir=tmp_path)["lpips"]
    assert wanted.min() > 0.001
    assert found.numpy() == pytest.approx(wanted.detach().numpy(), rel=1e-5)
    assert measure(clean, ["lpips"], clean=clean, local_dir=tmp_path)["lpips"].tolist() == [0, 0]
    grey = measure(noisy[:, :1], ["lpips"], clean=clean[:, :1], local_dir=tmp_path)["lpips"]
    repeated = (i[:, :1].expand(-1, 3, -1, -1) for i in (noisy, clean))
    assert torch.equal(grey, deep.lpips(*repeated, _files(tmp_path)))


def _files(folder: Path) -> tuple[Path, ...]:
    from medrobust.quality.weights import files_of

    return files_of("lpips", folder)


def test_dists_is_that_of_torchmetrics_on_the_same_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = made_up("vgg16")
    torch.save(tensors, tmp_path / "vgg16-397923af.pth")
    made = models.vgg16

    def network(**_: object) -> torch.nn.Module:
        with torch.device("meta"):
            empty = made(weights=None)
        empty.load_state_dict(tensors, assign=True)
        return empty

    for module in (their_dists, models):  # where torchmetrics from 1.7.4 on finds it, and 1.7.0
        monkeypatch.setattr(module, "vgg16", network, raising=False)
    monkeypatch.setattr(
        their_dists.torch, "load", lambda path, real=torch.load: real(path, map_location="cpu")
    )
    theirs = their_dists.DISTSNetwork()
    monkeypatch.undo()
    clean, noisy = pair()
    wanted = theirs(clean.float() / 255, noisy.float() / 255)
    found = measure(noisy, ["dists"], clean=clean, local_dir=tmp_path)["dists"]
    assert wanted.min() > 0.001
    assert found.numpy() == pytest.approx(wanted.detach().numpy(), abs=2e-5)
    same = measure(clean, ["dists"], clean=clean, local_dir=tmp_path)["dists"]
    assert same.numpy() == pytest.approx([0, 0], abs=1e-9)


def test_what_lacks_a_file_or_has_another_networks_is_refused_by_name(tmp_path: Path) -> None:
    clean, noisy = pair()
    with pytest.raises(ConfigurationError, match=r"lpips needs alexnet.*quality\.local_dir=FOLDER"):
        measure(noisy, ["lpips"], clean=clean)
    with pytest.raises(ConfigurationError, match="brisque needs brisque_model_live"):
        _ = ImageQuality(["brisque"]).head
    with pytest.raises(WeightsNotFoundError, match=r"dists needs vgg16-397923af\.pth, and"):
        _ = ImageQuality(["dists"], str(tmp_path)).head
    file = tmp_path / "alexnet-owt-7be5be79.pth"
    tensors = made_up("alexnet")
    less = {key: value for key, value in tensors.items() if key != "features.3.bias"}
    for content, said in (
        (less, r"has no features\.3\.bias"),
        (tensors | {"extra": torch.zeros(1)}, "has extra"),
        (tensors | {"features.0.bias": torch.zeros(3)}, "other shapes than alexnet"),
    ):
        torch.save(content, file)
        with pytest.raises(WeightsMismatchError, match=said):
            measure(noisy, ["lpips"], clean=clean, local_dir=tmp_path)
    file.write_bytes(b"no file of torch")
    with pytest.raises(WeightsMismatchError, match="cannot be read as a file of torch"):
        measure(noisy, ["lpips"], clean=clean, local_dir=tmp_path)


def test_files_are_part_of_the_fingerprint_and_only_where_they_are_used(tmp_path: Path) -> None:
    write_brisque(tmp_path)
    first = ImageQuality(["brisque"], str(tmp_path)).head
    assert set(first["files"]) == {MODEL, RANGE}
    assert ImageQuality(["entropy"], str(tmp_path)).head == ImageQuality(["entropy"]).head
    assert "files" not in ImageQuality(["entropy"]).head
