"""docs/dependencies.md, the bounds of pyproject.toml and requirements-lowest.txt are one."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CORE = PROJECT["dependencies"]
EXTRAS = {
    line: extra
    for extra, lines in PROJECT["optional-dependencies"].items()
    for line in lines
    if not line.startswith("medrobust[")
}
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
ROWS = re.findall(
    r"^\| ([\w.-]+) \| (.+) \| ([^|]+) \|$",
    (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8"),
    re.MULTILINE,
)
TOLD = {
    "Apache-2.0": "apache",
    "BSD": "bsd",
    "BSD-3-Clause": "bsd",
    "GPL-3.0": "gplv3|gpl v3",
    "MIT": r"\bmit\b",
    "MIT-CMU": "mit-cmu|hpnd",
    "MPL-2.0": "mpl",
    "PSF": "python software foundation",
}
"""License in the table -> what the metadata of the package must say somewhere."""


def name(line: str) -> str:
    return Requirement(line).name


def test_every_dependency_is_in_the_table_once_and_nothing_else_is() -> None:
    rows = [row[0] for row in ROWS if row[0] != "package"]
    assert rows == [name(line) for line in [*CORE, *EXTRAS]]


def test_an_extra_s_row_says_which_extra() -> None:
    why = {package: text for package, text, _ in ROWS}
    for line, extra in EXTRAS.items():
        assert why[name(line)].startswith(f"`{extra}`: ")


@pytest.mark.slow
@pytest.mark.parametrize(("package", "license_"), [(r[0], r[2]) for r in ROWS if r[2] != "license"])
def test_the_license_is_the_one_that_the_installed_package_states(package, license_) -> None:
    try:
        found = metadata(package)
    except PackageNotFoundError:
        assert package in ("hydra-ray-launcher", "mutmut", "ray")
        return
    if f"{package}=={found['Version']}" not in LOCK.lower():
        pytest.skip("the table states the license of the locked version")
    parts = [found.get("License-Expression") or "", found.get("License") or ""]
    parts += [c for c in found.get_all("Classifier", []) if c.startswith("License")]
    assert re.search(TOLD[license_], " ".join(parts).lower())


def test_the_lowest_versions_are_the_bounds_of_pyproject() -> None:
    text = (ROOT / "requirements-lowest.txt").read_text(encoding="utf-8")
    pinned = dict(re.findall(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE))
    pinned = {key.lower().replace("_", "-"): value for key, value in pinned.items()}
    for line in [*CORE, *EXTRAS]:
        wanted = Requirement(line)
        if EXTRAS.get(line) in ("ray", "docs", "mutation") or not wanted.specifier:
            continue
        (bound,) = wanted.specifier
        assert bound.operator == ">="
        found = pinned[wanted.name.lower().replace("_", "-")]
        assert re.fullmatch(rf"{re.escape(bound.version)}(\.0)*", found), wanted.name
