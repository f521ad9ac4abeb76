"""Suites: which corruptions there are, in which order, with which parameters; tables in suites/.

A suite of one's own is a YAML file. Its path finds it; tables, folders and pages have its name
(`suite_name`), which is that of the file and a digest of what the file says.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from medrobust.base.fingerprints import file_fingerprint, fingerprint
from medrobust.exceptions import ConfigurationError, MedRobustError, UnknownNameError, unknown_name

from .kernels import KERNELS, is_unchanged

SEVERITIES = (1, 2, 3, 4, 5)

FOLDERS = frozenset({"masks", "textures"})
"""Parameters that name a folder of the user's own pictures."""

REGISTRIES = (
    "pathmnist",
    "bloodmnist",
    "dermamnist",
    "retinamnist",
    "tissuemnist",
    "octmnist",
    "breastmnist",
    "chestmnist",
    "pneumoniamnist",
    "organamnist",
    "organcmnist",
    "organsmnist",
)
"""The suites of MedMNIST-C, one a data set, in its order."""

SANITY = "sanity"
"""Suite of the cells of images that show nothing: in no table of corruptions."""

BETWEEN = "@between"
"""How the suite of cells ends that a search placed between published severities: in no table."""

PAIRS = "@pairs"
"""How the suite of cells ends that show two corruptions, one after the other: in no table."""

THEN = "+"
"""Between the names of the two."""

FILE = (".yaml", ".yml")
"""How the path of a suite of one's own ends."""

CLEAN = "clean"
"""What is no corruption: images as they are."""

LONGEST = 32
"""Letters of a file's name that the name of its suite takes, so that names of folders hold it."""


def place_of(domain: str, region: str | None, region_of: str) -> str:
    """Say how a suite ends whose corruptions do not change the whole picture as it is shown.

    No table joins a part with the whole image, nor stored values with pictures.

    Args:
        domain: "picture" or "stored".
        region: None, "mask" or "outside".
        region_of: What the mask is of.

    Example:
        >>> place_of("picture", None, "disc"), place_of("stored", "mask", "foreground")
        ('', '@stored@inside_foreground')
    """
    first = "" if domain == "picture" else f"@{domain}"
    if region is None:
        return first
    where = {"mask": "inside"}.get(region, region)
    return f"{first}@{where}_{region_of}"


def placed_at(suite: str, level: int) -> float:
    """Return what a level of the tables of a suite is in published severities.

    Of levels that were equalised (`severity=ssim`) no severity is known: they stay as they are.

    Example:
        >>> placed_at("imagenet_c@2.5", 3), placed_at("imagenet_c", 3)
        (2.5, 3.0)
    """
    found = re.search(r"@(\d+(\.\d+)?)$", suite)
    return float(found[1] if found else level)


@dataclass(frozen=True, slots=True)
class Entry:
    """One corruption of a suite.

    Attributes:
        name: As published.
        kernel: Which kernel computes it.
        version: Of its pixels: raised whenever they change.
        table: Parameter -> five values, one a severity, or one value for all of them.
        beyond: Parameter -> a published value after the fifth, for training only.
    """

    name: str
    kernel: str
    version: int
    table: Mapping[str, Any]
    beyond: Mapping[str, Any] = field(default_factory=dict)

    def parameters(self, severity: int) -> dict[str, Any]:
        """Look up the parameters at one severity, 1 to 5."""
        return {
            key: value[severity - 1] if isinstance(value, list) else value
            for key, value in self.table.items()
        }

    def described(self, severity: int) -> dict[str, Any]:
        """Give the parameters as a fingerprint takes them: a folder of pictures by its content."""
        return _by_content(self.parameters(severity))

    @property
    def content(self) -> dict[str, Any]:
        """Its table, a folder of pictures by its content."""
        return _by_content(dict(self.table))

    def version_at(self, severity: int, shape: tuple[int, int]) -> int:
        """Return the version of the pixels of images of (height, width): the first with these."""
        return self.version - (
            self.version > 1 and is_unchanged(self.kernel, shape, self.parameters(severity))
        )

    @property
    def random(self) -> bool:
        """Whether it draws."""
        return bool(KERNELS[self.kernel].draws)


def suites(suite: str | None = None) -> list[str]:
    """List the suites, or the corruptions of one suite in their published order.

    Args:
        suite: Name of a suite, or path of a YAML file of one's own (ends in ".yaml" or ".yml").

    Raises:
        UnknownNameError: If there is no such suite; the message names the nearest.

    Example:
        >>> suites("medimeta_c")[:2]
        ['gaussian_noise', 'impulse_noise']
    """
    return list(_own_suites() if suite is None else load_suite(suite))


@cache
def _own_suites() -> tuple[str, ...]:
    folder = files("medrobust.corruptions") / "suites"
    return tuple(sorted(f.name[:-5] for f in folder.iterdir() if f.name.endswith(".yaml")))


def find_entry(suite: str, name: str) -> Entry:
    """Look up a corruption in a suite.

    Raises:
        UnknownNameError: If there is no such suite, or no such corruption in it; the message says
            which suites have it.

    Example:
        >>> find_entry("imagenet_c", "brightness").parameters(5)
        {'shift': 0.5}
    """
    return entry_of(load_suite(suite), suite, name)


def entry_of(entries: Mapping[str, Entry], suite: str, name: str) -> Entry:
    """Look up a corruption in a suite that is read already, as `find_entry` does."""
    if name in entries:
        return entries[name]
    others = [other for other in suites() if name in load_suite(other)]
    if others:
        raise UnknownNameError(
            f"corruption {name!r} is not in suite {suite!r}, which has: {', '.join(entries)}. "
            f"Suites with {name!r}: {', '.join(others)}; choose one by corruption.suite=NAME."
        )
    raise unknown_name("corruption", name, entries)


def suite_name(suite: str, entries: Mapping[str, Entry]) -> str:
    """Name a suite as tables do: one's own by its file's name and what decides its pixels.

    So a file is one suite wherever it lies, and another one once an entry of it is another.
    Comments, the order of entries and parameters for training alone are no part of it.

    Args:
        suite: Name of a suite, or path of a file.
        entries: From `load_suite`.

    Raises:
        ConfigurationError: If a folder of pictures does not exist.

    Example:
        >>> suite_name("imagenet_c", {})
        'imagenet_c'
        >>> suite_name("/home/me/my suite.yaml", {"dim": Entry("dim", "contrast", 1, {})})
        'my-suite-78f56d11'
    """
    if not suite.endswith(FILE):
        return suite
    decides = {name: [one.kernel, one.version, one.content] for name, one in entries.items()}
    stem = re.sub(r"[^A-Za-z0-9._]+", "-", Path(re.split(r"[\\/]", suite)[-1]).stem)[:LONGEST]
    return f"{stem.strip('.-') or 'suite'}-{fingerprint(decides)[:8]}"


def load_suite(suite: str) -> Mapping[str, Entry]:
    """Read and check the table of a suite: corruption -> entry, in order.

    A file of one's own is read each time, since it may be another by then.

    Raises:
        UnknownNameError: If there is no such suite.
        ConfigurationError: If the file does not hold what a suite must.

    Example:
        >>> list(load_suite("medimeta_c"))[:2]
        ['gaussian_noise', 'impulse_noise']
    """
    if not suite.endswith(FILE):
        return _packaged(suite)
    try:
        return _of_file(suite)
    except MedRobustError as error:
        error.discreet = str(error).replace(repr(suite), repr(re.split(r"[\\/]", suite)[-1]))
        raise


def _of_file(suite: str) -> Mapping[str, Entry]:
    path = Path(suite)
    if not path.is_file():
        raise UnknownNameError(f"suite file {suite!r} not found. Give the path of a YAML file.")
    try:
        return _entries(suite, _parsed(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        told = " ".join(str(error).split())
        raise ConfigurationError(f"suite file {suite!r} is no YAML: {told}. Correct it.") from error


@cache
def _packaged(suite: str) -> Mapping[str, Entry]:
    if re.fullmatch(r".*-[0-9a-f]{8}", suite):
        raise UnknownNameError(
            f"{suite!r} is what tables call a suite file: give its path, such as FOLDER/mine.yaml."
        )
    if suite not in suites():
        raise unknown_name("suite", suite, suites())
    resource = files("medrobust.corruptions") / "suites" / f"{suite}.yaml"
    return _entries(suite, _parsed(resource.read_text(encoding="utf-8")))


@lru_cache(maxsize=64)
def _parsed(text: str) -> Any:
    return yaml.safe_load(text)


def _entries(suite: str, content: Any) -> Mapping[str, Entry]:
    if not _is_suite(content):
        raise ConfigurationError(
            f"suite {suite!r} must be a mapping with the keys 'corruptions' (name -> kernel, "
            f"version, parameters) or 'take' (suite -> list of names), and name a corruption."
        )
    entries = {
        name: find_entry(source, name)
        for source, names in content.get("take", {}).items()
        for name in names
    }
    for name, table in content.get("corruptions", {}).items():
        if not isinstance(name, str) or not isinstance(table, dict) or name == CLEAN:
            raise ConfigurationError(
                f"suite {suite!r}, corruption {name!r}: write a name (not {CLEAN}; in quotes where "
                f"YAML reads another value) and a mapping of its parameters."
            )
        entries[name] = _entry(suite, name, dict(table))
    return entries


def _is_suite(content: Any) -> bool:
    if not isinstance(content, dict) or not content.keys() <= {"take", "corruptions"}:
        return False
    parts = [content.get(part, {}) for part in ("take", "corruptions")]
    if not all(isinstance(part, dict) for part in parts) or not any(parts):
        return False
    return all(isinstance(names, list) for names in parts[0].values())


def _entry(suite: str, name: str, table: dict[str, Any]) -> Entry:
    kernel, version = table.pop("kernel", name), table.pop("version", 1)
    beyond = table.pop("beyond", {})
    if kernel not in KERNELS:
        raise unknown_name(f"kernel (of {name!r} in suite {suite!r})", kernel, KERNELS)
    for key, value in table.items():
        if not all(map(_is_plain, value if isinstance(value, list) else [value])):
            raise ConfigurationError(
                f"suite {suite!r}, corruption {name!r}: {key!r} is {value}. Give finite numbers, "
                f"words, true, false or null."
            )
        if isinstance(value, list) and len(value) != len(SEVERITIES):
            raise ConfigurationError(
                f"suite {suite!r}, corruption {name!r}: {key!r} has {len(value)} values. "
                f"Give {len(SEVERITIES)}, one a severity, or a single one for all."
            )
    if not beyond.keys() <= table.keys():
        raise ConfigurationError(
            f"suite {suite!r}, corruption {name!r}: 'beyond' names {', '.join(beyond)}. "
            f"Give values of its parameters: {', '.join(table)}."
        )
    return Entry(name, kernel, version, table, beyond)


def _is_plain(value: Any) -> bool:
    number = isinstance(value, int | float) and math.isfinite(value)
    return number or value is None or isinstance(value, str)


def _by_content(parameters: dict[str, Any]) -> dict[str, Any]:
    """Put the digest of its pictures in the place of a folder."""
    return parameters | {key: _digest(parameters[key]) for key in FOLDERS & parameters.keys()}


def _digest(folder: Any) -> Any:
    if isinstance(folder, list):  # one a severity
        return [_digest(one) for one in folder]
    return None if folder is None else _folder_digest(Path(str(folder)))


def _folder_digest(folder: Path) -> str:
    if not folder.is_dir():
        error = ConfigurationError(f"folder {str(folder)!r} of a suite does not exist. Correct it.")
        error.discreet = "a folder of pictures of a suite does not exist. Correct it."
        raise error
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return fingerprint([[path.name, file_fingerprint(path)] for path in files])
