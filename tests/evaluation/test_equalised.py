"""Severity equalisation: levels at stated SSIM of validation images, or a sentence why not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from skimage.metrics import structural_similarity
from tuning import experiment

from medrobust.adapters import NoAdapter
from medrobust.corruptions import Between, Corruption, Equalisation, Suite
from medrobust.evaluation.equalised import PARTS, nearest, records, sentence
from medrobust.evaluation.experiment import Experiment
from medrobust.evaluation.plan import plan
from medrobust.evaluation.resources import Resources
from medrobust.exceptions import ConfigurationError

RESOURCES = Resources()
TARGETS = (0.9, 0.8, 0.7, 0.6, 0.5)


def asked(folder: Path, corruption: object, *levels: int, **options: object) -> Experiment:
    given = experiment(folder, adapter=NoAdapter(), tuning=None, corruption=corruption)
    equalise = Equalisation(TARGETS, images=6, **options)
    data = replace(given.data, severities=levels, equalise=equalise)
    return replace(given, data=data)


def ssim(clean: np.ndarray, shown: np.ndarray) -> float:
    grey = [image.astype(float) @ [0.299, 0.587, 0.114] for image in (clean, shown)]
    return structural_similarity(
        *grey, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )


@pytest.mark.slow
def test_levels_reach_their_targets_on_validation_images_by_scikit_image(tmp_path: Path) -> None:
    import torch

    given = asked(tmp_path, Corruption("gaussian_noise"), 1, 4)
    (planned,) = plan(given, RESOURCES)
    (column,) = planned.columns
    assert column.suite == "imagenet_c@ssim"
    mild, hard = column.levels
    assert 0 < mild.severity < 1 < hard.severity * 3
    validation = RESOURCES.image_set(given.data.datasets[0], "val")
    rows = np.unique(np.linspace(0, len(validation) - 1, 6).round()).astype(int)
    for level in column.levels:
        found = []
        for row in rows:
            image = np.array(validation.images[row])
            pixels = torch.from_numpy(image).movedim(-1, 0)[None]
            index = torch.tensor([int(validation.index[row])])
            shown = column(
                pixels, severity=level.level, seed=0, stream=validation.stream, index=index
            )
            found.append(ssim(image, shown[0].movedim(0, -1).numpy()))
        assert np.median(found) == pytest.approx(level.target, abs=0.02)
        assert np.median(found) == pytest.approx(level.quantiles[2], abs=1e-4)
    (first, second) = records(planned.columns, "x")
    assert (first["level"], second["level"]) == (1, 4)
    assert first["target"] == 0.9
    fingerprints = [cell.key.fingerprint for cell in planned.cells]
    published = replace(given, data=replace(given.data, equalise=None))
    (as_published,) = plan(published, RESOURCES)
    others = [cell.key.fingerprint for cell in as_published.cells]
    assert fingerprints[0] == others[0]
    assert not set(fingerprints[1:]) & set(others[1:])


def test_a_severity_in_between_has_parameters_in_between_and_a_table_of_its_own(
    tmp_path: Path,
) -> None:
    import torch

    given = asked(tmp_path, Corruption("gaussian_noise"), 3)
    given = replace(given, data=replace(given.data, equalise=Between(2.5)))
    (planned,) = plan(given, RESOURCES)
    (column,) = planned.columns
    assert column.suite == "imagenet_c@2.5"
    assert sentence(column) == "gaussian_noise (imagenet_c@2.5): 3 at 2.5"
    std = column.identity(3)["parameters"]["std"]
    assert std == pytest.approx((0.12 + 0.18) / 2)  # of severities 2 and 3
    image = torch.full((1, 1, 64, 64), 128, dtype=torch.uint8)
    keyed = {"severity": 3, "seed": 0, "stream": "x", "index": torch.tensor([5])}
    between, published = (
        each(image, **keyed).double() - 128
        for each in (column, Corruption("gaussian_noise", "imagenet_c"))
    )
    assert float((between / published.where(published.abs() > 20, torch.nan)).nanmean()) == (
        pytest.approx(std / 0.18, abs=0.02)
    )  # the same draws
    for data, words in (
        (replace(given.data, corruption=Corruption("snow")), "snow has no severities between"),
        (replace(given.data, severities=(2,)), "Write severity=2.5"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            plan(replace(given, data=data), RESOURCES)
    for at in (0.0, 3.0, 5.5, True, 2, float("nan")):
        with pytest.raises(ConfigurationError, match="between the published ones"):
            Between(at)


@pytest.mark.parametrize(
    ("corruption", "options", "sentence"),
    [
        (Corruption("snow"), {}, "snow has no severities between the published ones"),
        (Corruption("brightness"), {}, "brightness reaches a median SSIM of 0.5"),
        (Corruption("contrast"), {"tolerance": 1e-9}, "comes no nearer to a median SSIM of 0.5"),
        ("snow, frost", {}, "snow has no.*; frost has no"),
    ],
)
def test_what_cannot_reach_a_target_is_refused_by_name(
    tmp_path: Path, corruption: Corruption | str, options: dict[str, float], sentence: str
) -> None:
    if isinstance(corruption, str):
        file = tmp_path / "some.yaml"
        file.write_text(f"take: {{imagenet_c: [{corruption}]}}\n", encoding="utf-8")
        corruption = Suite(str(file))
    with pytest.raises(ConfigurationError, match=sentence):
        plan(asked(tmp_path, corruption, 5, **options), RESOURCES)


def test_a_set_without_validation_images_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from medrobust.exceptions import DatasetNotFoundError

    given, whole = asked(tmp_path, Corruption("contrast"), 1), RESOURCES.image_set

    def without(source: object, split: str | None = None) -> object:
        if split == "val":
            raise DatasetNotFoundError("none")
        return whole(source, split)

    monkeypatch.setattr(RESOURCES, "image_set", without)
    with pytest.raises(ConfigurationError, match="is set on validation images"):
        plan(given, RESOURCES)


def test_the_nearest_place_is_found_on_a_falling_curve() -> None:
    rng = np.random.default_rng(0)
    for target in rng.uniform(0.2, 0.99, 20):
        place, values = nearest(lambda at: np.array([np.exp(-at / 200)]), target)
        best = min(range(1, 5 * PARTS + 1), key=lambda at: abs(np.exp(-at / 200) - target))
        assert place == best
        assert values[0] == np.exp(-best / 200)
