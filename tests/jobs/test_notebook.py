"""The main job in one call: own models and own arrays, as in a notebook."""

import decimal
import gc
import locale
import logging
import multiprocessing
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import rcsetup
from torch import Tensor, nn

from medrobust import evaluate
from medrobust.base import torch_settings
from medrobust.base.process_state import settings_of_matplotlib
from medrobust.exceptions import ConfigurationError, InvalidDataError, MedRobustError
from medrobust.models import OwnModel, PhantomClip
from medrobust.reporting.figures import matrix_png

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


@pytest.fixture
def untouched() -> Iterator[None]:
    """Nobody has asked yet how processes are started or for a backend; kernels use two threads."""
    method, threads = multiprocessing.get_start_method(allow_none=True), torch.get_num_threads()
    unasked: Any = None
    multiprocessing.set_start_method(unasked, force=True)
    backend = settings_of_matplotlib()["backend"]
    dict.update(matplotlib.rcParams, backend=rcsetup._auto_backend_sentinel)
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)
    dict.update(matplotlib.rcParams, backend=backend)
    multiprocessing.set_start_method(unasked if method is None else method, force=True)


@pytest.mark.parametrize("model", [Brightness(), Two()], ids=["classifier", "dual encoder"])
def test_a_model_of_ones_own_is_judged_by_what_it_really_answers(images, model) -> None:
    report = evaluate(model, images, LABELS, NAMES, corruptions="brightness", severities=[1, 5])
    # brightness adds 0.1 and 0.5: of the dark ones 100 and 110 (then 125 and 135) and, at 5, all.
    assert values(report, "error") == {0: 0.0, 1: pytest.approx(1 / 6), 5: pytest.approx(4 / 6)}
    assert {row["model"] for row in report.results} == {"own"}


def test_a_suite_file_that_was_edited_meanwhile_is_another_suite(images, tmp_path: Path) -> None:
    file, suites = tmp_path / "mine.yaml", []
    for shift, wrong in ((0.1, 1), (0.5, 4)):
        file.write_text(f"corruptions:\n  light: {{kernel: brightness, shift: {shift}}}\n")
        asked: dict[str, Any] = {"corruptions": str(file), "store": tmp_path / "store"}
        report = evaluate(Brightness(), images, LABELS, NAMES, severities=2, **asked)
        assert values(report, "error") == {0: 0.0, 2: pytest.approx(wrong / 6)}
        suites += [row["suite"] for row in report.results if row["severity"] == "2"][:1]
    assert len({*suites}) == 2
    assert all(suite.startswith("mine-") for suite in suites)


@pytest.mark.slow
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
    assert names == {
        "report.html",
        "matrix.png",
        "matrix.csv",
        "results.csv",
        "summary.csv",
        "reasons.csv",
    }


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
    assert report.matrices[0].data.label_kind == "multi-label, binary-class"


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


def umask() -> int:
    found = os.umask(0)
    os.umask(found)
    return found


LOOKS: dict[str, Callable[[], Any]] = {
    "python's generator": random.getstate,
    "numpy's generator": lambda: [np.asarray(part).tolist() for part in np.random.get_state()],  # noqa: NPY002
    "torch's generator": lambda: torch.get_rng_state().tolist(),
    "default dtype": torch.get_default_dtype,
    "deterministic algorithms": torch.get_deterministic_debug_mode,
    "matmul precision": torch.get_float32_matmul_precision,
    "anomalies": torch.is_anomaly_enabled,
    "threads": torch.get_num_threads,
    "gradients": torch.is_grad_enabled,
    "cudnn": lambda: [
        getattr(torch.backends.cudnn, name)
        for name in ("benchmark", "deterministic", "enabled", "allow_tf32")
    ],
    "numpy's errors": np.geterr,
    "numpy's printing": np.get_printoptions,
    "filters of warnings": lambda: warnings.filters[:],
    "how warnings are shown": lambda: (warnings.showwarning, warnings.formatwarning),
    "levels": lambda: [logging.getLogger(name).level for name in ("", "medrobust", "mine")],
    "handlers": lambda: [logging.getLogger(name).handlers[:] for name in ("", "mine")],
    "logging off": lambda: logging.root.manager.disable,
    "environment": lambda: dict(os.environ),
    "folder": os.getcwd,
    "arguments": lambda: sys.argv[:],
    "hooks": lambda: (sys.excepthook, sys.unraisablehook, sys.stdout, sys.stderr),
    "signals": lambda: [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)],
    "matplotlib": settings_of_matplotlib,
    "start of processes": lambda: multiprocessing.get_start_method(allow_none=True),
    "threads of ours": lambda: [t.name for t in threading.enumerate() if "medrobust" in t.name],
    "decimals": lambda: repr(decimal.getcontext()),
    "locale": lambda: locale.setlocale(locale.LC_ALL),
    "paths": lambda: sys.path[:],
    "garbage": lambda: (gc.isenabled(), gc.get_threshold()),
    "recursion": sys.getrecursionlimit,
    "switches": sys.getswitchinterval,
    "umask": umask,
    "all signals": lambda: [signal.getsignal(number) for number in signal.valid_signals()],
    "files": lambda: sorted(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self") else None,
    "children": lambda: [process.pid for process in multiprocessing.active_children()],
}
"""All that a caller may have set for its process, and how to look at it."""


class Careless(Brightness):
    """Disturbs whatever a model or a library of its own may disturb while it is evaluated."""

    def forward(self, pixels: Tensor) -> Tensor:
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002
        torch.manual_seed(1)
        np.seterr(all="ignore")
        np.set_printoptions(precision=2)
        torch.set_num_threads(torch.get_num_threads() + 1)
        torch.set_float32_matmul_precision("medium")
        torch.autograd.set_detect_anomaly(True)
        torch.backends.cudnn.benchmark = not torch.backends.cudnn.benchmark
        warnings.simplefilter("ignore")
        logging.getLogger("mine").setLevel(logging.CRITICAL)
        logging.getLogger().addHandler(logging.NullHandler())
        os.environ["OF_A_MODEL"] = "1"
        sys.excepthook = lambda *_: None
        signal.signal(signal.SIGTERM, lambda *_: None)
        dict.update(matplotlib.rcParams, {"font.size": 3.0})
        multiprocessing.set_start_method("spawn", force=True)
        decimal.getcontext().prec = 3
        locale.setlocale(locale.LC_ALL, "C")
        sys.path.append("of a model")
        gc.disable()
        sys.setrecursionlimit(5000)
        sys.setswitchinterval(0.5)
        signal.signal(signal.SIGALRM, lambda *_: None)
        os.umask(0o001)
        return super().forward(pixels)


@pytest.mark.parametrize("model", [Brightness(), Two(), PhantomClip(variant="small"), Careless()])
def test_the_caller_s_process_is_left_as_it_was_found(images, untouched, model) -> None:
    torch.rand(3), random.random(), np.random.rand(2)  # noqa: NPY002
    before = {name: look() for name, look in LOOKS.items()}
    evaluate(model, images, LABELS, NAMES, corruptions="gaussian_noise", severities=1)
    after = {name: look() for name, look in LOOKS.items()}
    assert [name for name in LOOKS if after[name] != before[name]] == []


def test_a_call_that_fails_leaves_the_process_as_well(images) -> None:
    class Failing(Careless):
        def forward(self, pixels: Tensor) -> Tensor:
            super().forward(pixels)
            raise KeyError("of the model")

    before = {name: look() for name, look in LOOKS.items()}
    with pytest.raises(MedRobustError, match="of the model"):
        evaluate(Failing(), images, LABELS, NAMES, corruptions="clean")
    assert [name for name, look in LOOKS.items() if look() != before[name]] == []


def test_a_call_between_two_epochs_changes_nothing_of_the_next(images) -> None:
    def epoch(between: bool) -> list[float]:
        torch.manual_seed(3)
        layer = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 2))
        losses = []
        for _ in range(2):
            losses.append(float(layer(torch.rand(8, 4)).detach().square().mean()))
            if between:
                evaluate(Brightness(), images, LABELS, NAMES, corruptions="clean")
        assert layer.training
        return losses

    assert epoch(between=True) == epoch(between=False)


def test_a_run_of_wandb_that_the_caller_has_open_stays_open(images, monkeypatch) -> None:
    run = SimpleNamespace(finish=lambda **_: pytest.fail("finished by evaluate"))
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(run=run))
    evaluate(Brightness(), images, LABELS, NAMES, corruptions="clean")


@pytest.mark.parametrize(
    "around", [torch.autocast("cpu", torch.bfloat16), torch.device("meta")], ids=["half", "meta"]
)
def test_what_the_caller_computes_in_changes_no_number(images, around: Any) -> None:
    def logits(context: Any) -> list[list[float]]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.AdaptiveAvgPool2d(8), nn.Flatten(), nn.Linear(192, 2))
        with context:
            report = evaluate(model, images, LABELS, NAMES, corruptions="clean")
        (cell,) = report.matrices[0].cells.values()
        return cell.arrays["logits"].tolist()

    assert logits(around) == logits(nullcontext())


class Means(nn.Module):
    """One linear layer over the mean of each channel."""

    def __init__(self, kind: torch.dtype) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2, dtype=torch.float32)
        nn.init.constant_(self.layer.weight, 0.25)
        nn.init.constant_(self.layer.bias, 0.5)
        self.layer.to(kind)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.layer(pixels.mean(dim=(2, 3)))


class Odd(Means):
    """Ends as it was told to."""

    def __init__(self, end: Callable[[Tensor], Any]) -> None:
        super().__init__(torch.float32)
        self.end = end

    def forward(self, pixels: Tensor) -> Any:
        return self.end(super().forward(pixels))


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (
            lambda _: next(iter([])),
            r"StopIteration, raised in test_notebook\.py, line \d+: an iter",
        ),
        (lambda logits: logits.to(torch.complex64), "must return real logits"),
    ],
    ids=["StopIteration", "complex"],
)
def test_what_a_module_must_not_end_with_is_said(
    images, end: Callable[[Tensor], Any], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        evaluate(Odd(end), images, LABELS, NAMES, corruptions="clean")


def test_a_module_without_values_and_a_class_named_twice_are_refused(images) -> None:
    with pytest.raises(ConfigurationError, match="Means has weights on the device `meta`"):
        evaluate(Means(torch.float32).to("meta"), images, LABELS, NAMES, corruptions="clean")
    with pytest.raises(ConfigurationError, match="'dark' stands twice"):
        evaluate(Means(torch.float32), images, LABELS, ["dark", "dark"], corruptions="clean")


@pytest.mark.parametrize("kind", [torch.float64, torch.float16])
def test_another_default_dtype_changes_no_number_and_other_weights_are_said(
    images, kind: torch.dtype
) -> None:
    def logits() -> list[list[float]]:
        report = evaluate(Means(torch.float32), images, LABELS, NAMES, corruptions="clean")
        (cell,) = report.matrices[0].cells.values()
        return cell.arrays["logits"].tolist()

    before = logits()
    torch.set_default_dtype(kind)
    try:
        assert logits() == before
        said = f"the weights of this module are {str(kind)[6:]}, and pixels come as float32"
        with pytest.raises(ConfigurationError, match=said):
            evaluate(Means(kind), images, LABELS, NAMES, corruptions="clean")
        assert torch.get_default_dtype() == kind
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.skipif(not torch_settings._precisions(), reason="this torch has none by device")
@pytest.mark.parametrize(
    ("owner", "precision"),
    [
        (torch.backends, "tf32"),
        (torch.backends.cuda.matmul, "tf32"),
        (torch.backends.cudnn, "ieee"),
    ],
    ids=["all", "products", "cudnn"],
)
def test_precisions_by_device_are_left_as_found(images, owner: Any, precision: str) -> None:
    found = [flag.get() for flag in torch_settings._precisions()]
    try:
        owner.fp32_precision = precision
        before = [flag.get() for flag in torch_settings._precisions()]
        evaluate(Brightness(), images, LABELS, NAMES, corruptions="clean")
        assert [flag.get() for flag in torch_settings._precisions()] == before
    finally:
        for flag, value in zip(torch_settings._precisions(), found, strict=True):
            flag.set(value)
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.draws
def test_figures_are_drawn_alike_whatever_matplotlibrc_says(images) -> None:
    report = evaluate(Brightness(), images, LABELS, NAMES, corruptions="contrast", severities=[1])
    plain = matrix_png(report.matrices)
    mine = {"text.usetex": True, "font.size": 30.0, "savefig.transparent": True}
    with matplotlib.rc_context(mine):
        assert matrix_png(report.matrices) == plain
        assert {name: matplotlib.rcParams[name] for name in mine} == mine


def test_a_current_folder_that_was_deleted_is_one_sentence(
    images, tmp_path: Path, monkeypatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(ConfigurationError, match="current folder is no longer there"):
        evaluate(nn.Identity(), images, [0] * len(images), ["a", "b"])
