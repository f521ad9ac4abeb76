"""The benchmark of corruptions: what it would measure, and what it writes."""

import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as entry
from benchmarks import corruptions as benchmark
from benchmarks.environments import IMAGECORRUPTIONS, MEDMNISTC, MissingError, find_python
from medrobust.corruptions import suites
from medrobust.corruptions.config import REGISTRIES
from medrobust.corruptions.kernels import KERNELS
from medrobust.corruptions.suites import find_entry


def test_every_corruption_of_both_packages_is_measured():
    assert [name for _, name in benchmark.jobs(IMAGECORRUPTIONS)] == suites("imagenet_c")
    jobs = benchmark.jobs(MEDMNISTC)
    assert {name for _, name in jobs} == {n for flag in REGISTRIES for n in suites(flag)}
    assert all(name in suites(suite) for suite, name in jobs)


def test_what_is_missing_is_named_in_the_report():
    rows = [
        benchmark.Row("old", "imagenet_c", "fog", 9.0, one=3.0, all=1.0),
        benchmark.Row("old", "imagenet_c", "snow", "ImportError: no sky", one=3.0, all=1.0),
    ]
    text = benchmark.report(rows, [], ["old 1: Python 2.7 not found"])
    assert "| fog | imagenet_c | 9.000 | 3.000 | 3.0 |" in text
    assert "over 1 corruptions: **3.0**" in text
    assert "snow of old did not run: ImportError: no sky" in text
    assert "Missing: old 1: Python 2.7 not found" in text


def test_the_running_python_is_found_and_another_is_missed():
    assert find_python("{}.{}".format(*sys.version_info)) == sys.executable
    with pytest.raises(MissingError, match=r"Python 1\.5 not found"):
        find_python("1.5")


def test_benchmarks_are_found_by_name(capsys):
    assert "corruptions" in entry.find()
    assert entry.run(["nonsense"]) == 2
    assert "there are: " in capsys.readouterr().out


def test_every_kernel_is_on_the_page() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "performance" / "corruptions.md"
    lines = [
        line.strip("| ").split(" | ") for line in page.read_text(encoding="utf-8").splitlines()
    ]
    listed = {frozenset(line[:2]) for line in lines if len(line) > 2}
    shown = {
        find_entry(suite, name).kernel
        for suite in suites()
        for name in suites(suite)
        if {suite, name} in listed
    }
    assert shown == set(KERNELS)
