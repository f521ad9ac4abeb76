"""Files that learnt measures need: their published names, found in one folder; no torch."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from medrobust.base.fingerprints import file_fingerprint
from medrobust.exceptions import ConfigurationError, WeightsNotFoundError

FILES: Mapping[str, tuple[str, ...]] = {
    "brisque": ("brisque_model_live.yml", "brisque_range_live.yml"),
    "lpips": ("alexnet-owt-7be5be79.pth",),
    "dists": ("vgg16-397923af.pth",),
}
"""Measure -> files of the folder `quality.local_dir`, under the names they are published by."""

HEADS: Mapping[str, str] = {"lpips": "lpips_models/alex.pth", "dists": "dists_models/weights.pt"}
"""Measure -> what is learnt on top of the network, which torchmetrics brings."""


def files_of(name: str, folder: str | Path | None) -> tuple[Path, ...]:
    """Return the files of a learnt measure, each of which is there.

    Raises:
        ConfigurationError: If there is no folder.
        WeightsNotFoundError: Naming the file that the folder lacks.
    """
    if folder is None:
        raise ConfigurationError(
            f"{name} needs {' and '.join(FILES[name])}: pass the folder they lie in, "
            f"quality.local_dir=FOLDER, or leave {name} out of quality.measures."
        )
    found = tuple(Path(folder) / file for file in FILES[name])
    for path in found:
        if not path.is_file():
            raise WeightsNotFoundError(
                f"{name} needs {path.name}, and {path.parent} has none: copy it there under the "
                f"name it is published by, or leave {name} out of quality.measures."
            )
    return found + ((head_of(name),) if name in HEADS else ())


def head_of(name: str) -> Path:
    """Return the file of torchmetrics with what is learnt on top of the network of a measure."""
    package = find_spec("torchmetrics")
    assert package is not None  # a package that medrobust needs
    assert package.origin is not None
    return Path(package.origin).parent / "functional" / "image" / HEADS[name]


def digests(names: Sequence[str], folder: str | Path | None) -> dict[str, str]:
    """Return file name -> SHA-256 of what learnt measures among `names` are computed with.

    Raises:
        ConfigurationError: As `files_of`.
        WeightsNotFoundError: As `files_of`.
    """
    paths = [path for name in names if name in FILES for path in files_of(name, folder)]
    return {path.name: file_fingerprint(path) for path in paths}
