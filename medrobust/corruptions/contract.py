"""The contract: what each (corruption, parameters) draws and gives, so that no change goes unseen.

`docs/corruption-contract.json` holds one entry for each that any suite has: its version, a SHA-256
of its integer draws, which holds on every machine, and a SHA-256 of its pixels on a drawn card,
which holds where platform and versions are those that made it. Elsewhere the pixels lie within one
grey level of the stored ones. `scripts/write_contract.py` writes both.
"""

import hashlib
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from medrobust.base.fingerprints import canonical_json
from medrobust.keys import FORMAT, Draws, derive_key
from medrobust.types import UInt8Batch

from .kernels import KERNELS
from .shell import CHANNELS_A_DRAW, key_of, run_kernel
from .suites import SEVERITIES, load_suite, suites

STREAM = "contract"
ROWS = (2**40 + 3, 7)
"""Rows whose draws are hashed; the card is the first."""

WORDS, PLANES = 64, 3
"""Words of a draw and planes (one a channel) that are hashed."""

HEIGHT, WIDTH = 32, 40
PACKAGES = ("numba", "numpy", "opencv-python-headless", "torch")


@dataclass(frozen=True, slots=True)
class Clause:
    """One (corruption, parameters).

    Attributes:
        name: Corruption; part of the key of its draws, as is the severity.
        severity: 1 to 5.
        kernel: Which computes it.
        parameters: Of the kernel.
        version: Of its pixels.
    """

    name: str
    severity: int
    kernel: str
    parameters: dict[str, Any]
    version: int

    @property
    def identity(self) -> str:
        """All but the version, as text."""
        return canonical_json([self.name, self.severity, self.kernel, self.parameters])

    def draws_digest(self) -> str:
        """Hash the first words of each draw: 64 hexadecimal digits, empty if nothing is drawn."""
        if not KERNELS[self.kernel].draws:
            return ""
        key = key_of(self.kernel, 0, STREAM, self.name, self.severity)
        digest = hashlib.sha256()
        for number in range(len(KERNELS[self.kernel].draws)):
            for plane in range(PLANES):
                draws = Draws(key, torch.tensor(ROWS), CHANNELS_A_DRAW * number + plane)
                digest.update(draws.words(WORDS).numpy().astype("<i8").tobytes())
        return digest.hexdigest()

    def pixels(self) -> UInt8Batch:
        """Corrupt the card: uint8 (1, 3, HEIGHT, WIDTH)."""
        return run_kernel(
            card(),
            self.kernel,
            self.parameters,
            key=key_of(self.kernel, 0, STREAM, self.name, self.severity),
            rows=torch.tensor(ROWS[:1]),
        )


def clauses() -> Iterator[Clause]:
    """List every (corruption, parameters) of every suite once, in a fixed order."""
    seen = set()
    for suite in suites():
        for entry in load_suite(suite).values():
            for severity in SEVERITIES:
                parameters = entry.parameters(severity)
                clause = Clause(entry.name, severity, entry.kernel, parameters, entry.version)
                if (clause.identity, clause.version) not in seen:
                    seen.add((clause.identity, clause.version))
                    yield clause


def card() -> UInt8Batch:
    """Draw the card in integers: ramps, stripes, noise, flat black and white; (1, 3, 32, 40).

    Example:
        >>> card().shape
        torch.Size([1, 3, 32, 40])
    """
    row, column = np.arange(HEIGHT)[:, None], np.arange(WIDTH)[None]
    ramp = (6 * column + row) % 256 + np.zeros((HEIGHT, 1), np.int64)
    draws = Draws(derive_key(0, STREAM, "card", 0), torch.arange(3))
    noise = draws.integers(0, 256, HEIGHT * WIDTH).numpy().reshape(3, HEIGHT, WIDTH)
    planes = np.stack([ramp, ramp[::-1], (ramp + 128) % 256])
    planes = np.where((column // 4 + row // 3) % 3 == 0, noise, planes)
    planes[:, 2:10, 2:10] = 0
    planes[:, 20:30, 28:38] = 255
    return torch.from_numpy(planes.astype(np.uint8))[None]


def pixels_digest(pixels: UInt8Batch) -> str:
    """Hash pixels: 64 hexadecimal digits.

    Example:
        >>> pixels_digest(torch.zeros(1, 3, 28, 28, dtype=torch.uint8))[:8]
        'f81c4fa3'
    """
    return hashlib.sha256(pixels.contiguous().numpy().tobytes()).hexdigest()


def made_with() -> dict[str, str]:
    """Name what decides the last bit of a float: processor, system, versions."""
    from llvmlite.binding import get_host_cpu_name  # type: ignore[import-untyped]

    return {
        "machine": f"{platform.system()} {platform.machine()}",
        "processor": get_host_cpu_name(),
        "python": platform.python_version(),
    } | {package: version(package).partition("+")[0] for package in PACKAGES}


def contract() -> dict[str, Any]:
    """Make the content of `docs/corruption-contract.json`."""
    return {
        "about": (
            "draws: SHA-256 of integer draws, holds on any machine. pixels: SHA-256 on the card "
            "of medrobust/corruptions/contract.py, holds for `made_with`; elsewhere pixels are "
            "within one grey level. Written by scripts/write_contract.py."
        ),
        "keys": FORMAT,
        "card": pixels_digest(card()),
        "made_with": made_with(),
        "clauses": [
            asdict(clause)
            | {"draws": clause.draws_digest(), "pixels": pixels_digest(clause.pixels())}
            for clause in clauses()
        ],
    }
