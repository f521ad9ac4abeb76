"""The main job in one call: own models and own arrays, as in a notebook."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medrobust import evaluate
from medrobust.exceptions import ConfigurationError, InvalidDataError
from medrobust.models import OwnModel, PhantomClip

NAMES = ["dark", "bright"]


class Brightness(nn.Module):
    """Calls an image bright when its mean is above one half."""

    def forward(self, pixels: Tensor) -> Tensor:
        mean = pixels.mean(dim=(1, 2, 3))
        return torch.stack([0.5 - mean, mean - 0.5], dim=1)


class Two(nn.Module):
    """A dual encoder of two dimensions: brightness on one side, the word on the other."""

    logit_scale = 10.0

    def encode_image(self, pixels: Tensor) -> Tensor:
        return Brightness()(pixels)

    def encode_text(self, sentences: list[str]) -> Tensor:
        words = [[1.0, -1.0] if "dark" in sentence else [-1.0, 1.0] for sentence in sentences]
        return torch.tensor(words)


@pytest.fixture
def images() -> np.ndarray:
    levels = np.array([20, 60, 100, 110, 150, 200], np.uint8)
    return np.broadcast_to(levels[:, None, None], (6, 64, 64)).copy()


LABELS = [0, 0, 0, 0, 1, 1]


def values(report, metric: str) -> dict[int, float]:
    return {int(r["severity"]): float(r["value"]) for r in report.results if r["metric"] == metric}


@pytest.mark.parametrize("model", [Brightness(), Two()], ids=["classifier", "dual encoder"])
def test_a_model_of_ones_own_is_judged_by_what_it_really_answers(images, model) -> None:
    report = evaluate(model, images, LABELS, NAMES, corruptions="brightness", severities=[1, 5])
    # brightness adds 0.1 and 0.5: of the dark ones 100 and 110 (then 125 and 135) and, at 5, all.
    assert values(report, "error") == {0: 0.0, 1: pytest.approx(1 / 6), 5: pytest.approx(4 / 6)}
    assert {row["model"] for row in report.results} == {"own"}


def test_a_published_model_and_a_suite_make_the_whole_matrix(images) -> None:
    report = evaluate(PhantomClip(), images, LABELS, NAMES, severities=[3])
    (matrix,) = report.matrices
    assert len(matrix.table.corruptions) == 7
    assert {row["model"] for row in report.results} == {"phantomclip"}
    assert not report.missing


def test_the_report_is_written_where_it_is_asked_for(images, tmp_path: Path) -> None:
    report = evaluate(Brightness(), images, LABELS, NAMES, corruptions="contrast", severities=[1])
    report.write(tmp_path / "mine")
    names = {path.name for path in (tmp_path / "mine").iterdir()}
    assert names == {"report.html", "matrix.png", "matrix.csv", "results.csv", "summary.csv"}


def test_a_report_at_the_end_of_a_notebooks_cell_is_one_line(images) -> None:
    report = evaluate(Brightness(), images, LABELS, NAMES, corruptions="brightness", severities=1)
    assert repr(report) == (
        "<Report: 1 model, 2 of 2 cells. print() shows the matrix, "
        "write(folder) makes page and tables>"
    )


def test_a_store_keeps_cells_for_the_next_call(images, tmp_path: Path) -> None:
    chosen = {"corruptions": "contrast", "severities": [1], "store": tmp_path}
    first = evaluate(Brightness(), images, LABELS, NAMES, **chosen)
    again = evaluate(Brightness(), images, LABELS, NAMES, **chosen)
    assert (first.run["computed"], again.run["computed"]) == (2, 0)
    assert first.results == again.results


def test_several_labels_an_image_make_a_multi_label_report(images) -> None:
    labels = np.stack([LABELS, 1 - np.array(LABELS)], axis=1)
    report = evaluate(Brightness(), images, labels, NAMES, corruptions="contrast", severities=[1])
    assert report.matrices[0].data.task == "multi-label, binary-class"


def test_a_changed_model_is_another_model_and_ones_own_is_left_alone(images, tmp_path) -> None:
    chosen = {"corruptions": "clean", "store": tmp_path}
    model = Two()
    values_ = []
    for scale in (10.0, 1.0):
        model.logit_scale = scale
        report = evaluate(model, images, LABELS, NAMES, **chosen)
        values_.append(next(iter(report.matrices[0].cells.values())).arrays["logits"])
    assert np.allclose(values_[0], 10 * values_[1])
    assert model.training
    wrapped = OwnModel(model)
    for scale in (2.0, 3.0):
        model.logit_scale = scale
        assert evaluate(wrapped, images, LABELS, NAMES, **chosen).run["computed"] == 1
    report = evaluate(model, images, LABELS, NAMES, logit_scale=5.0, **chosen)
    assert report.run["computed"] == 1


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"labels": [0.5] * 6}, ConfigurationError, "whole numbers"),
        ({"labels": [0, 1, 2, 0, 0, 0]}, InvalidDataError, r"labels span 0\.\.2"),
        ({"labels": [0, 1]}, InvalidDataError, "6 images, 2 labels"),
        ({"labels": [[0]] * 6}, ConfigurationError, r"labels \(6, 1\) .* pass labels\.ravel\(\)"),
        ({"images": np.zeros((6, 64, 64))}, InvalidDataError, "must be uint8"),
        ({"class_names": ["a", "b", "c"]}, ConfigurationError, "2 logits.*3 classes"),
        ({"corruptions": ["fog", "snow"]}, ConfigurationError, "one suite or one corruption"),
        ({"severities": [6]}, ConfigurationError, "levels are 1, 2, 3, 4 and 5"),
    ],
)
def test_what_does_not_fit_is_refused(images, change, error, sentence) -> None:
    given = {"images": images, "labels": LABELS, "class_names": NAMES, "corruptions": "contrast"}
    with pytest.raises(error, match=sentence):
        evaluate(Brightness(), **(given | change))
