"""Pairs of images in a report: columns that say what belongs together, and the drop from clean."""

from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from run_entry import medrobust, rows
from stores import data_record

from medrobust.exceptions import ConfigurationError
from medrobust.metrics.feature_pairs import Pairing, paired_images
from medrobust.readings import Pairs
from medrobust.readings.pairs import _numbers, pairing_of

RUN = ("model=phantomclip_small", "corruption=gaussian_noise", "severity=5", "hydra.run.dir=out")
SMALL = ("dataset=phantoms", "dataset.per_class=3", *RUN)


def test_phantoms_of_one_patient_stand_closer_and_less_so_under_noise(workplace) -> None:
    asked = ("readings=pairs", "readings.pairs.within=labels", "store.features=true")
    assert medrobust(*SMALL, *asked) == 0
    clean, noisy = rows("out/pairs.csv")
    low, high = (float(noisy[f"auroc_drop{end}"]) for end in ("_low", "_high"))
    drop = float(clean["pair_auroc"]) - float(noisy["pair_auroc"])
    assert float(noisy["auroc_drop"]) == pytest.approx(drop)
    assert low <= drop <= high
    assert clean["auroc_drop"] == ""
    assert float(clean["pair_auroc_low"]) < float(clean["pair_auroc"])
    page = unescape(Path("out/report.html").read_text("utf-8"))
    assert "Pairs of images" in page


def test_a_drop_of_nothing_is_bounded_by_what_no_patient_has_shown() -> None:
    features = np.random.default_rng(0).normal(size=(24, 4)).astype(np.float32)
    patients = np.arange(24) // 2
    found = paired_images(features, Pairing(patients, patients))
    drop = _numbers(found, found, patients)["auroc_drop"]
    unseen = 3.841458820694124 / (12 + 3.841458820694124)
    assert (drop.value, drop.low, drop.high) == pytest.approx((0, -unseen, unseen))


@pytest.mark.slow
def test_features_that_are_not_kept_and_columns_that_are_not_there_are_said(workplace) -> None:
    assert medrobust(*SMALL, "readings=pairs") == 0
    page = unescape(Path("out/report.html").read_text("utf-8"))
    assert "its features are not kept (store.features=true keeps them)" in page


def test_what_belongs_together_is_said_by_columns() -> None:
    columns = np.array([["a", "left"], ["a", "right"], ["", "left"], ["", "right"]])
    data = replace(
        data_record(count=4, classes=2), metadata=columns, metadata_columns=("pair", "side")
    )
    found = pairing_of(data, Pairs(by="pair", between="side", within="labels"))
    assert found.pairs[0] == found.pairs[1]
    assert len(set(found.pairs.tolist())) == 3
    assert found.between.tolist() == [0, 1, 0, 1]
    assert found.within.tolist() == np.unique(data.labels, return_inverse=True)[1].tolist()
    alone = replace(data, groups=None)
    for given, told in (
        (Pairs(), "it names no patients"),
        (Pairs(by="visit"), r"no metadata column 'visit' \(readings\.pairs\.by\)"),
        (Pairs(by="pair", within="age"), r"readings\.pairs\.within"),
    ):
        with pytest.raises(ConfigurationError, match=told):
            pairing_of(alone, given)
    with pytest.raises(ConfigurationError, match="is empty"):
        Pairs(by="")
    grouped = replace(data, groups=np.array(["p", "p", "p", "q"]))
    of_pairs = pairing_of(grouped, Pairs(by="pair"))
    partners, others = of_pairs.of(slice(0, 1))
    assert partners.tolist() == [[False, True, False, False]]
    assert others.tolist() == [[False, False, False, True]]  # the third is of the same patient
