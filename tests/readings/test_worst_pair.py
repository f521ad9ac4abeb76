"""The worst pair of corruptions: the search on a known table, and cells that a run computes."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from run_entry import medrobust

from medrobust.cli.first_look import first_look
from medrobust.cli.hydra_app import composed
from medrobust.corruptions import Corruption
from medrobust.corruptions.composed import ComposedCorruption
from medrobust.exceptions import ConfigurationError
from medrobust.metrics.paired import parts_of
from medrobust.metrics.simultaneous import difference_interval
from medrobust.readings import WorstPair
from medrobust.readings.worst_pair import COLUMNS, Pair, Single, _first_of_worst, _line

NAMES, LEVELS = ("a", "b", "c", "d"), (1, 2, 3, 4, 5)
STRENGTH = {"a": 0.05, "b": 0.04, "c": 0.01, "d": 0.01}


def added(pair: Pair) -> float:
    """Loss of a table in which c makes what follows it much worse."""
    alone = sum(STRENGTH[one.name] * one.severity for one in pair)
    return alone + (0.2 if pair.first == Single("c", 2) else 0.0)


def searched(settings: WorstPair) -> dict[Pair, float]:
    pairs = settings.pairs(NAMES, LEVELS)
    alone = {one: STRENGTH[one.name] * one.severity for one in settings.singles(NAMES, LEVELS)}
    tried: dict[Pair, float] = {}
    while wanted := settings.wanted(pairs, alone, tried):
        assert not set(wanted) & set(tried)
        tried |= {pair: added(pair) for pair in wanted}
    return tried


def test_pairs_have_equal_means_and_the_budget_holds() -> None:
    settings = WorstPair(total=5, budget=20)
    pairs = settings.pairs(NAMES, LEVELS)
    assert len(pairs) == 4 * 3 * 4
    assert {pair.first.severity + pair.second.severity for pair in pairs} == {5}
    assert all(pair.first.name != pair.second.name for pair in pairs)
    tried = searched(settings)
    assert len(tried) == 20
    assert tried == searched(settings)
    assert max(one.severity for one in settings.singles(NAMES, LEVELS)) == 5
    assert len(searched(WorstPair(budget=1))) == 1
    assert len(searched(WorstPair(budget=99))) == 48  # all there are
    assert WorstPair(total=5).pairs(NAMES, (3,)) == []


def test_a_bad_mix_that_its_parts_do_not_tell_is_found_by_moving_one_part_at_a_time() -> None:
    tried = searched(WorstPair(budget=24))
    worst = max(tried, key=lambda pair: tried[pair])
    every = WorstPair().pairs(NAMES, LEVELS)
    assert worst == max(every, key=added) == Pair(Single("c", 2), Single("a", 3))
    by_parts = sorted(every, key=lambda pair: -sum(STRENGTH[o.name] * o.severity for o in pair))
    assert worst not in by_parts[:12]  # not among those that were tried first


def test_of_equals_the_first_by_name_is_chosen_in_any_order_of_columns() -> None:
    settings = WorstPair(total=2, budget=4)
    for names in (NAMES, NAMES[::-1]):
        pairs = settings.pairs(names, (1,))
        first = settings.wanted(pairs, {}, {})
        assert [f"{a.name}{b.name}" for a, b in first] == ["ab", "ac"]
        near = settings.wanted(pairs, {}, dict.fromkeys(first, 0.5))
        assert [f"{a.name}{b.name}" for a, b in near] == ["ad", "ba"]  # of ab, the worst so far
        found = dict.fromkeys(pairs, 0.5)
        assert _first_of_worst({pair: (value, 0.0, 1.0) for pair, value in found.items()}) == (
            Pair(Single("a", 1), Single("b", 1))
        )


@pytest.mark.slow
def test_of_many_equal_pairs_the_chosen_one_is_too_high_and_its_interval_holds() -> None:
    rng = np.random.default_rng(0)
    count, pairs, truth, parts = 150, 60, 0.2, parts_of(None, None, 150)
    together, alone, values = 0, 0, []
    for _ in range(100):
        wrong = rng.random((pairs, count)) < truth  # clean images are all right
        worst = wrong[wrong.mean(axis=1).argmax()].astype(float)
        values.append(worst.mean())
        low, high = difference_interval(worst, parts, pairs)
        together += low <= truth <= high
        low, high = difference_interval(worst, parts)
        alone += low <= truth <= high
    assert np.mean(values) > truth + 0.05
    assert together >= 92
    assert alone <= 30


def test_a_pair_that_adds_nothing_more_says_so_without_a_sign() -> None:
    row = dict.fromkeys(COLUMNS, "0.25") | {"more_than_single": "-1e-16"}
    assert _line(row)[-1] == "0.0 [25.0, 25.0]"


def test_two_corruptions_are_the_second_of_the_first() -> None:
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    (noise,), (dark,) = (Corruption(n).expand(None) for n in ("gaussian_noise", "contrast"))
    keyed = {"seed": 3, "stream": "x", "index": torch.tensor([4, 9])}
    both = ComposedCorruption(noise, dark, (2, 3))
    expected = dark(noise(images, severity=2, **keyed), severity=3, **keyed)
    assert torch.equal(both(images, severity=both.level, **keyed), expected)
    assert (both.name, both.suite, both.level) == ("gaussian_noise+contrast", "imagenet_c@pairs", 3)
    assert both.random(3)
    other = ComposedCorruption(dark, noise, (3, 2))
    assert both.identity(3)["composed"] == other.identity(3)["composed"][::-1]
    assert both.identity(3) != other.identity(3)


RUN = (
    *("model=phantomclip_small", "corruption=endoscopy_physics", "corruption.force=true"),
    *("severity=2", "validation=false", "dataset.per_class=1", "readings=worst_pair"),
    "model.micro_batch=4",
    *("readings.worst_pair.total=4", "readings.worst_pair.budget=3"),
)


def worst(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "worst_pair.csv").read_text("utf-8").splitlines()))


def test_a_run_tries_pairs_and_resumes_verifies_and_reports_them(workplace, capsys) -> None:
    assert medrobust(*RUN, "hydra.run.dir=first") == 0
    (row,) = worst(Path("first"))
    cells = sorted(Path("outputs/store/cells").glob("*/*/*/s*"))
    assert len(cells) == 1 + 3 + 3
    assert (row["pairs"], row["tried"]) == ("6", "3")
    assert float(row["low"]) <= float(row["added"]) <= float(row["high"])
    more = float(row["added"]) - float(row["single_added"])
    assert float(row["more_than_single"]) == pytest.approx(more)
    assert medrobust(*RUN, "hydra.run.dir=again") == 0
    assert worst(Path("again")) == [row]
    assert sorted(Path("outputs/store/cells").glob("*/*/*/s*")) == cells
    capsys.readouterr()
    assert medrobust("verify", "outputs/store", "--cells", "7") == 0
    assert capsys.readouterr().out.count("identical") == 7
    words = [word for word in RUN if word.startswith("readings")]
    assert medrobust("report", "outputs/store", "--out", "page", "--light", *words) == 0
    assert worst(Path("page")) == [row]
    assert "@pairs" not in Path("page/results.csv").read_text()


def test_numbers_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="total=1"):
        WorstPair(total=1)
    with pytest.raises(ConfigurationError, match="budget=0"):
        WorstPair(budget=0)
    with pytest.raises(ConfigurationError, match="budget=x must be a whole number"):
        WorstPair(budget="x")


NOTHING = "finds no two corruptions of one suite on phantoms"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["corruption=contrast"], NOTHING),
        (["corruption=medimeta_c", "severity=5"], NOTHING),
        (["corruption=contrast", "severity=2.5"], "at published severities, and there is none on"),
        (
            ["corruption=medimeta_c", "severity=2", "corruption.region=mask"],
            "joins corruptions of whole images",
        ),
    ],
)
def test_a_search_with_nothing_to_search_is_refused(words, said, workplace, capsys) -> None:
    rest = [word for word in RUN if not word.startswith(("corruption", "severity"))]
    for dry in ([], ["dry_run=true"]):
        assert medrobust(*rest, *words, *dry) == 1
        assert said in capsys.readouterr().err
    assert not Path("outputs/store/cells").exists()


@pytest.mark.parametrize("asked", ["total=1", "budget=0"])
def test_a_search_that_cannot_be_is_refused_at_the_first_look(asked: str) -> None:
    config = composed(["readings=worst_pair", f"readings.worst_pair.{asked}"])
    with pytest.raises(ConfigurationError, match=f"worst_pair.{asked} must"):
        first_look(config)
