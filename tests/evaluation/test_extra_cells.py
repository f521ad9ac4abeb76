"""Cells beside the tables: clean validation images, and images that show nothing."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from run_entry import medrobust, rows

from medrobust.corruptions.blank import NotAnImage
from medrobust.evaluation.store import Store

SMALL = (
    *("model=phantomclip", "corruption=pixelate", "severity=2", "dataset.per_class=2"),
    "model.micro_batch=8",
)


@pytest.mark.slow
def test_a_run_fits_its_operating_point_on_validation_images_of_its_own(workplace, capsys) -> None:
    assert medrobust(*SMALL, "hydra.run.dir=run") == 0
    cells = list(Store(Path("outputs/store")).cells())
    assert sorted((c.spec.split, c.spec.corruption) for c in cells) == [
        ("test", "clean"), ("test", "pixelate"), ("val", "clean")
    ]  # fmt: skip
    results = rows("run/results.csv")
    assert {row["split"] for row in results} == {"test"}  # no table has a row of it
    found = {row["metric"] for row in results}
    assert found >= {"sensitivity", "specificity", "nll_calibrated"}
    page = Path("run/report.html").read_text()
    assert "phantoms/val" not in page
    assert "need clean validation images" not in page
    assert medrobust(*SMALL, "validation=false", "hydra.run.dir=off") == 0
    assert "sensitivity" not in {row["metric"] for row in rows("off/results.csv")}
    assert "phantoms (validation=false)" in Path("off/report.html").read_text()


@pytest.mark.slow
def test_a_sweep_joins_its_validation_and_sanity_cells(workplace, capsys) -> None:
    sweep = ("-m", "model=phantomclip_small,phantomclip", *SMALL[1:], "sanity=true")
    assert medrobust(*sweep, "hydra.sweep.dir=sweep") == 0
    printed = capsys.readouterr().out
    assert "without looking at the image" in printed
    for name in ("blank images", "noise images", "shuffled class texts", "majority class"):
        assert name in printed
    results, summary = rows("sweep/results.csv"), rows("sweep/summary.csv")
    assert "sensitivity" in {row["metric"] for row in results}
    blank = [r for r in summary if r["metric"] == "sanity_blank_images" and r["of"] == "error"]
    assert [r["model"] for r in blank] == ["phantomclip_small", "phantomclip"]
    apart = {(r["suite"], r["corruption"], r["seed"]) for r in results if r["suite"] == "sanity"}
    assert apart == {("sanity", "blank", ""), ("sanity", "noise", "0")}
    page = Path("sweep/report.html").read_text()
    assert "<details open><summary>Without looking at the image" in page

    plain = ("hydra.sweep.dir=plain", "sanity=false")
    assert medrobust(*sweep[:-1], *plain) == 0
    assert json.loads(Path("plain/run.json").read_text())["computed"] == 0
    kept = ("rank", "mean", "mCE", "CE", "severity_mean")
    assert [r for r in rows("plain/summary.csv") if r["metric"] in kept] == [
        r for r in summary if r["metric"] in kept
    ]
    assert Path("plain/comparisons.csv").read_bytes() == Path("sweep/comparisons.csv").read_bytes()


def test_blank_images_get_one_answer_and_a_guesss_score(workplace) -> None:
    few = ("model=phantomclip_small", *SMALL[1:3], "dataset.per_class=1", "model.micro_batch=4")
    assert medrobust(*few, "sanity=true", "hydra.run.dir=run") == 0
    cells = {c.spec.corruption: c for c in Store(Path("outputs/store")).cells()}
    blank = cells["blank"].arrays["logits"]
    assert np.array_equal(blank, np.repeat(blank[:1], len(blank), axis=0))
    assert len(np.unique(cells["noise"].arrays["logits"], axis=0)) == len(blank)
    (balanced,) = [
        float(r["value"])
        for r in rows("run/summary.csv")
        if (r["metric"], r["of"]) == ("sanity_blank_images", "balanced_error")
    ]
    assert balanced == pytest.approx(1 - 1 / len(np.unique(cells["blank"].data.labels)))


def test_a_set_without_validation_images_has_none_and_the_page_says_so(workplace) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (8, 32, 32), dtype=np.uint8)
    np.savez("own.npz", images=pixels, labels=np.arange(8) % 2)
    own = ("dataset=npz", "dataset.file=own.npz", "dataset.class_names=[a,b]", "prompts=bare")
    chosen = ("model=phantomclip_small", "corruption=clean", "hydra.run.dir=run")
    assert medrobust(*own, *chosen) == 0
    assert len(list(Store(Path("outputs/store")).cells())) == 1
    assert "it has no validation split" in Path("run/report.html").read_text()


@pytest.mark.parametrize("channels", [1, 3])
def test_noise_is_keyed_uniform_and_knows_nothing_of_the_batch(channels: int) -> None:
    images = torch.zeros(6, channels, 31, 33, dtype=torch.uint8)
    index = torch.tensor([5, 9, 2**40, 0, 7, 1])
    noise = NotAnImage("noise")
    given = {"severity": 1, "seed": 3, "stream": "a/test"}
    whole = noise(images, index=index, **given)
    assert whole.shape == images.shape
    assert whole.dtype == torch.uint8
    parts = [noise(images[i : i + 1], index=index[i : i + 1], **given) for i in range(6)]
    assert torch.equal(torch.cat(parts), whole)
    assert not torch.equal(noise(images, index=index, **given | {"stream": "a/val"}), whole)
    counts = torch.bincount(whole.flatten().long(), minlength=256).double()
    expected = whole.numel() / 256
    square = float(((counts - expected) ** 2 / expected).sum())
    assert 255 - 5 * 510**0.5 < square < 255 + 5 * 510**0.5  # chi-squared of 255 degrees
    blank = NotAnImage("blank")(images, index=index, **given)
    assert blank.unique().tolist() == [128]
    assert not NotAnImage("blank").random(1)
