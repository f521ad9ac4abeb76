"""Corruptions of stored values: before the window, by the physics that pictures only stand for."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import write_table
from dicoms import item, write_dicom

from medrobust.base.stored_planes import FACTS, StoredPlane
from medrobust.corruptions import Corruption, Suite
from medrobust.corruptions.at_severity import CorruptionAt
from medrobust.corruptions.composed import ComposedCorruption
from medrobust.corruptions.continuous import ContinuousCorruption, Level
from medrobust.corruptions.stored import Step, corrupted_values
from medrobust.corruptions.suites import suites
from medrobust.datasets import Dicom, Phantoms
from medrobust.evaluation.regions import with_planes
from medrobust.exceptions import ConfigurationError, InvalidImageError
from medrobust.keys import derive_key

SIDE = 101
FAR = np.hypot(*(np.mgrid[:SIDE, :SIDE] - SIDE // 2))


def plane(codes: Any, **facts: Any) -> StoredPlane:
    record = np.zeros(1, FACTS)
    known = {"step": 1.0, "codes": 4096, "high": 4095.0, "falling": False}
    for name, value in (known | facts).items():
        record[name] = value
    return StoredPlane(np.full((SIDE, SIDE), codes, np.uint16), record[0])


def values(one: StoredPlane, kernel: str, **parameters: Any) -> np.ndarray:
    key, rows = derive_key(0, "", kernel, 1), torch.tensor([4])
    return corrupted_values([one], Step(kernel, parameters, key), rows=rows)[0]


def test_exposure_scales_linear_values_and_shifts_logarithms() -> None:
    codes = np.linspace(100, 2000, SIDE).astype(np.uint16)[None]
    linear = values(plane(codes, linear=True), "xray_exposure", factor=0.5)
    assert np.allclose(linear, codes * 0.5)
    falling = plane(4095 - codes, linear=True, falling=True)
    assert np.allclose(values(falling, "xray_exposure", factor=0.5), 4095 - codes * 0.5)
    logarithm = values(plane(codes), "xray_exposure", factor=10.0)
    assert np.allclose(logarithm, np.minimum(codes + 4095 / 4, 4095))  # of four powers of ten
    saturated = values(plane(codes, linear=True), "xray_exposure", factor=4.0)
    assert np.allclose(saturated, np.minimum(codes * 4.0, 4095))


def test_quanta_have_the_variance_of_their_mean_beyond_what_a_window_shows() -> None:
    narrow = plane(2048, linear=True, low=0.0, high=100.0)  # all of it is shown white
    counts = values(narrow, "xray_quantum_noise", quanta=400) / 4095 * 400
    assert counts.mean() == pytest.approx(200, rel=0.01)
    assert counts.var() == pytest.approx(200, rel=0.05)
    even = values(plane(2048, linear=True), "xray_scatter", ratio=2.0, width=0.1)
    assert np.allclose(even, 2048)


def test_another_window_shows_what_the_own_one_had_clipped() -> None:
    codes = np.arange(SIDE)[None] * 40
    own = plane(codes, low=1000.0, high=2000.0)
    found = own.shown(values(own, "window_error", width=0.5, shift=0.0))
    again = plane(codes, low=1250.0, high=1750.0)
    assert np.array_equal(found, again.shown(again.values))
    inverted = plane(codes, low=1000.0, high=2000.0, inverted=True)
    assert np.array_equal(
        inverted.shown(values(inverted, "window_error", width=0.5, shift=0.0)), 255 - found
    )


def test_noise_of_low_dose_is_that_of_filtered_back_projection() -> None:
    """A view's noise is that of e^-p of the quanta; the ramp has a mean square of 1 / 12 and a
    product of neighbours of -1 / (2 pi^2), which lines between bins take at weights w and 1 - w."""
    water = np.where(FAR < 40, 1000, 0)
    disk = plane(water, first=-1000.0, pixel=0.2)
    found = values(disk, "low_dose", photons=1e5, electronic=0.0) - disk.values
    path = 0.2 * 0.2 * 80
    between = 2 / 3 / 12 - 1 / 3 / (2 * np.pi**2)
    expected = np.pi**2 / 360 * between * np.exp(path) / 1e5  # by pixel
    noise = found[FAR < 8].std() * 0.2 * 0.2 / 1000
    assert noise**2 == pytest.approx(expected, rel=0.1)
    half = plane(water, first=-1000.0, pixel=0.1)
    less = values(half, "low_dose", photons=1e5, electronic=0.0) - half.values
    assert less[FAR < 8].std() < found[FAR < 8].std()  # half the path, twice the unit
    still = values(disk, "beam_hardening", beta=0.0)
    assert np.array_equal(still, disk.values)


def test_magnitudes_without_signal_are_those_of_rice() -> None:
    air = values(plane(0, low=200.0, high=1200.0), "rician_noise", std=0.1)
    assert air.mean() == pytest.approx(100 * np.sqrt(np.pi / 2), rel=0.01)
    assert (air**2).mean() == pytest.approx(2 * 100**2, rel=0.02)


# From files to columns.

SHOWN: dict[str, dict[str, Any]] = {
    "linear": {"WindowCenter": 40, "WindowWidth": 400},
    "exact": {"WindowCenter": 40, "WindowWidth": 0.5, "VOILUTFunction": "LINEAR_EXACT"},
    "sigmoid": {"WindowCenter": 40, "WindowWidth": 400, "VOILUTFunction": "SIGMOID"},
    "range": {},
    "inverted": {
        "WindowCenter": 40,
        "WindowWidth": 400,
        "PhotometricInterpretation": "MONOCHROME1",
    },
}


def written(folder: Path, pixels: np.ndarray | None = None, **tags: Any) -> Path:
    drawn = np.random.default_rng(0).integers(800, 1400, (2, 32, 32)).astype(np.int16)
    usual = {"RescaleSlope": 1, "RescaleIntercept": -1024, "BitsStored": 12, "HighBit": 11}
    tags = {**usual, **tags} if pixels is None else tags
    for number in range(2):
        file = folder / f"{number}.dcm"
        write_dicom(
            file, drawn[number] if pixels is None else pixels, PatientID=f"{number}", **tags
        )
    rows = [{"path": f"{number}.dcm", "label": "ab"[number]} for number in range(2)]
    return write_table(folder / "labels.csv", rows)


def source(table: Path, **options: Any) -> Dicom:
    return Dicom(csv=str(table), **({"size": 32, "modality": "CT"} | options))


def column(name: str = "low_dose", suite: str = "ct_physics", modality: str = "CT") -> Corruption:
    (found,) = Corruption(name, suite=suite, domain="stored").expand(None, modality)
    return found


@pytest.mark.parametrize("kind", SHOWN)
def test_planes_are_shown_as_their_pictures_are(kind: str, tmp_path: Path) -> None:
    image_set = source(written(tmp_path, **SHOWN[kind])).load()
    assert image_set.stored is not None
    planes = image_set.stored()
    rows = np.argsort(planes.index)[np.argsort(np.argsort(image_set.index))]
    for image, one in zip(image_set.images, planes.read(rows), strict=True):
        assert np.array_equal(one.shown(one.values), image)


def test_pictures_of_another_size_move_by_what_changes_alone(tmp_path: Path) -> None:
    table = written(tmp_path, **SHOWN["linear"], PixelSpacing=[8.0, 8.0])
    image_set = source(table, size=48).load()
    (found,) = with_planes([column()], image_set)
    images = torch.from_numpy(np.array(image_set.images))[:, None]
    index = torch.from_numpy(np.array(image_set.index))
    out = found(images, severity=5, index=index)
    assert out.dtype == torch.uint8
    assert not torch.equal(out, images)
    alone = found(images[1:], severity=5, index=index[1:])
    assert torch.equal(alone, out[1:])
    identity = found.identity(5)
    assert identity["domain"][0] == "stored"
    (wide,) = with_planes([column()], source(table, size=48, window=[40, 401]).load())
    assert wide.identity(5)["domain"] != identity["domain"]
    assert found.suite == "ct_physics@stored"
    colour = images.expand(-1, 3, -1, -1)
    assert torch.equal(found(colour, severity=5, index=index)[:, 2:], out)


@pytest.mark.parametrize(
    ("pixels", "tags", "match"),
    [
        (np.zeros((32, 32), np.uint8), {}, "have 8 bits"),
        (np.zeros((32, 32, 3), np.uint8), {}, "it has colours"),
        (
            np.arange(1024, dtype=np.uint16).reshape(32, 32),
            {
                "VOILUTSequence": item(
                    LUTDescriptor=[1024, 0, 16], LUTData=np.arange(1024, dtype="<u2").tobytes()
                )
            },
            "a table or a falling slope",
        ),
    ],
)
def test_what_holds_no_more_than_its_picture_is_refused(
    pixels: np.ndarray, tags: Any, match: str, tmp_path: Path
) -> None:
    image_set = source(written(tmp_path, pixels, **tags)).load()
    with pytest.raises(InvalidImageError, match=match):
        with_planes([column()], image_set)


def test_what_has_no_stored_form_is_refused_and_suites_take_what_has() -> None:
    with pytest.raises(ConfigurationError, match="only 8 bits a pixel are at hand"):
        with_planes([column()], Phantoms(per_class=1).load())
    with pytest.raises(ConfigurationError, match="'contrast' has no form on stored values"):
        Corruption("contrast", domain="stored").expand(None)
    with pytest.raises(ConfigurationError, match="is none of picture, stored"):
        Corruption("contrast", domain="raw")  # type: ignore[arg-type]
    names = {one.name for one in Suite("xray_physics", domain="stored").expand(None, "x-ray")}
    assert names == set(suites("xray_physics")) - {"laterality_marker"}
    with pytest.raises(ConfigurationError, match="has no form on stored values"):
        Suite("imagenet_c", domain="stored").expand(None)
    with pytest.raises(ConfigurationError, match="which a run has and this use has not"):
        column().identity(1)


def test_severities_in_between_and_pairs_are_of_stored_values(tmp_path: Path) -> None:
    """Exposure scales values that are linear in it: closed forms, where a window clips most."""
    codes = np.random.default_rng(1).integers(0, 1200, (32, 32)).astype(np.uint16)
    linear = {"PixelIntensityRelationship": "LIN", "PixelIntensityRelationshipSign": 1}
    shown = {"WindowCenter": 400, "WindowWidth": 200, "BitsStored": 12, "HighBit": 11}
    table = written(tmp_path, codes, Modality="DX", **linear, **shown)
    image_set = source(table, modality="DX").load()
    names = ("xray_underexposure", "xray_overexposure")
    columns = [column(name, "xray_physics", "DX") for name in names]
    under, over = with_planes(columns, image_set)
    images = torch.from_numpy(np.array(image_set.images))[:, None]
    keyed = {"seed": 0, "stream": "", "index": torch.from_numpy(np.array(image_set.index))}
    (own, _) = image_set.stored().read(np.arange(2))
    less, more = (
        [one.identity(level)["parameters"]["factor"] for level in range(1, 6)]
        for one in (under, over)
    )

    between = ContinuousCorruption(under, (Level(3, 2.5),), "2.5")
    assert between.suite == "xray_physics@stored@2.5"
    assert between.identity(3)["domain"] == under.identity(3)["domain"]
    expected = own.shown(codes * ((less[1] + less[2]) / 2))
    assert np.array_equal(between(images, severity=3, **keyed)[0, 0], expected)
    whole = CorruptionAt(under, 3.0)(images, severity=3, **keyed)
    assert torch.equal(whole, under(images, severity=3, **keyed))

    pair = ComposedCorruption(under, over, (4, 2))
    expected = own.shown(codes * less[3] * more[1])
    assert np.array_equal(pair(images, severity=4, **keyed)[0, 0], expected)
    assert not np.array_equal(
        expected, over(under(images, severity=4, **keyed), severity=2, **keyed)[0, 0]
    )
