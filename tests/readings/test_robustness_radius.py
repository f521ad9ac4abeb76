"""The robustness radius: halving on a known curve, and cells that a run computes for it."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from run_entry import medrobust

from medrobust.corruptions import Corruption
from medrobust.corruptions.at_severity import CorruptionAt, has_severities_between
from medrobust.exceptions import ConfigurationError
from medrobust.metrics.paired import parts_of
from medrobust.metrics.simultaneous import difference_interval
from medrobust.readings import RobustnessRadius

RUN = (
    *("model=phantomclip_small", "corruption=gaussian_noise", "severity=3", "validation=false"),
    *("dataset.per_class=1", "readings=robustness_radius", "readings.robustness_radius.ends=false"),
    "model.micro_batch=4",
    *("readings.robustness_radius.tolerance=10", "readings.robustness_radius.resolution=1"),
)


def searched(settings: RobustnessRadius, loss, published: list[float]) -> dict:
    """Halve on a curve of known (value, low, high) until nothing more is asked for."""
    added = {severity: loss(severity) for severity in published}
    while wanted := settings.wanted(added):
        added |= {severity: loss(severity) for severity in wanted}
    return added


def test_a_known_curve_is_found_to_the_resolution_with_both_ends_and_few_cells() -> None:
    settings = RobustnessRadius(tolerance=5, resolution=1 / 16)

    def loss(severity: float) -> tuple[float, float, float]:
        value = 0.01 * severity**1.5
        return value, 0.6 * value, 1.4 * value

    added = searched(settings, loss, [1, 2, 3, 4, 5])
    found = settings.found(added)
    for name, share in {"radius": 1.0, "earliest": 1.4, "latest": 0.6}.items():
        one, wanted = getattr(found, name), (5 / share) ** (2 / 3)
        assert one.below < wanted <= one.reached
        assert one.width == 1 / 16
        assert one.crossing == pytest.approx(wanted, abs=1e-3)
    assert len(added) == 5 + 3 * 4 - 1  # four halvings of each bracket; two begin at 2.5
    assert settings.wanted(added) == set()


@pytest.mark.slow
def test_the_interval_covers_a_radius_that_is_known() -> None:
    rng, settings = np.random.default_rng(0), RobustnessRadius(tolerance=10)
    parts, truth, covered = parts_of(None, None, 100), 5 * 0.2**0.5, 0
    for _ in range(50):
        chance = rng.random(100)

        def loss(severity: float, chance: np.ndarray = chance) -> tuple[float, float, float]:
            wrong = chance < 0.05 + 0.5 * (severity / 5) ** 2
            change = wrong.astype(float) - (chance < 0.05)
            return float(change.mean()), *difference_interval(change, parts)

        found = settings.found(searched(settings, loss, [1, 2, 3, 4, 5]))
        assert found.earliest is not None
        latest = found.latest.crossing if found.latest else np.inf
        covered += found.earliest.crossing <= truth <= latest
    assert covered >= 44


def test_a_curve_that_falls_again_is_searched_in_its_first_bracket_and_said_to_fall() -> None:
    settings = RobustnessRadius(tolerance=5, resolution=0.25, ends=False)
    curve = {1: 0.02, 2: 0.08, 3: 0.03, 4: 0.04, 5: 0.2}

    def loss(severity: float) -> tuple[float, float, float]:
        value = float(np.interp(severity, [0, *curve], [0, *curve.values()]))
        return value, value, value

    added = searched(settings, loss, list(curve))
    found = settings.found(added)
    assert found.radius is not None
    assert (found.radius.below, found.radius.reached) == (1.25, 1.5)
    assert found.below_again == (3.0, 4.0)
    assert settings.found({5: (0.04, 0.0, 0.06)}).radius is None


def test_pixels_at_a_whole_severity_are_the_published_ones() -> None:
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    (of,) = Corruption("gaussian_noise").expand(None)
    keyed = {"seed": 3, "stream": "x", "index": torch.tensor([4, 9])}
    moved = CorruptionAt(of, 2.0)
    assert torch.equal(moved(images, severity=2, **keyed), of(images, severity=2, **keyed))
    between = CorruptionAt(of, 1.5)
    assert between.level == 2
    assert between.identity(2)["at"] == 1.5
    assert between.identity(2)["parameters"] == {"std": pytest.approx(0.1)}
    (snow,) = Corruption("snow").expand(None)
    assert has_severities_between(of)
    assert not has_severities_between(snow)


def radii(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "robustness_radius.csv").read_text("utf-8").splitlines()))


def test_a_run_computes_the_cells_it_needs_and_resumes_verifies_and_reports_them(
    workplace, capsys
) -> None:
    assert medrobust(*RUN, "hydra.run.dir=first") == 0
    (row,) = radii(Path("first"))
    cells = sorted(Path("outputs/store/cells").glob("*/*/*/s*"))
    assert len(cells) == 2 + 2  # clean, severity 3, and two halvings of 0 to 3
    assert float(row["reached"]) - float(row["below"]) == 0.75
    assert float(row["below"]) <= float(row["radius"]) <= float(row["reached"])
    assert len(row["severities"].split()) == 3
    assert medrobust(*RUN, "hydra.run.dir=again") == 0
    assert radii(Path("again")) == [row]
    assert sorted(Path("outputs/store/cells").glob("*/*/*/s*")) == cells
    capsys.readouterr()
    assert medrobust("verify", "outputs/store") == 0
    assert capsys.readouterr().out.count("identical") == 4
    words = [word for word in RUN if word.startswith("readings")]
    assert medrobust("report", "outputs/store", "--out", "page", "--light", *words) == 0
    assert radii(Path("page")) == [row]
    assert "@between" not in Path("page/results.csv").read_text()
    assert "Robustness radii" in Path("page/report.html").read_text("utf-8")


def test_numbers_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="tolerance=0"):
        RobustnessRadius(tolerance=0)
    with pytest.raises(ConfigurationError, match="resolution=2"):
        RobustnessRadius(resolution=2)
    with pytest.raises(ConfigurationError, match="tolerance=x must be a number"):
        RobustnessRadius(tolerance="x")


def test_a_tolerance_that_is_reached_but_for_the_last_bits_of_a_float_is_reached() -> None:
    added = {at: (share - 0.13, -1.0, 1.0) for at, share in ((1, 0.17), (1.75, 0.18), (2, 0.24))}
    assert added[1.75][0] < 0.05
    found = RobustnessRadius(tolerance=5).found(added)
    assert (found.radius.below, found.radius.reached, found.radius.crossing) == (1, 1.75, 1.75)
    assert found.below_again == ()
