"""Corruptions as augmentation: each image draws its own corruption and strength."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from medrobust.exceptions import ConfigurationError, unknown_name
from medrobust.keys import Draws, derive_key
from medrobust.types import IndexBatch, UInt8Batch

from .batches import check_batch
from .shell import Grey, check_grey, check_severity, key_of, rows_of, run_kernel
from .suites import SEVERITIES, Entry, load_suite

Strength: TypeAlias = Literal["range", "levels"]

ODD = frozenset({"taps"})
"""Parameters that must be odd: one is taken off an even value, as MedMNIST-C does."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What one image gets.

    Attributes:
        name: Corruption; "clean" leaves the image as it is.
        severity: 1 to 5, or 0 where the strength lies between the published ones.
        parameters: Of its kernel.
    """

    name: str
    severity: int
    parameters: Mapping[str, Any]


class RandomCorruption:
    """Corrupts each image with a corruption and a strength drawn for it alone.

    One corruption of the suite, or none (`clean`), is drawn with equal chances. With
    `strength="range"` each of its parameters lies at one uniformly drawn point between the first
    and the last published value (`beyond` the fifth where there is a sixth): whole numbers are
    truncated, odd ones stay odd. With `strength="levels"` one of the published severities is drawn.

    Choices and draws are keyed by (seed, stream, epoch, index), so an image looks the same whatever
    the batch, the order and the workers, and different in every epoch.

    Args:
        suite: A suite, or path of a suite file; for MedMNIST sets their registry.
        seed: Of the draws.
        stream: Data set and split ("bloodmnist/train").
        names: Only these corruptions of the suite.
        strength: "range" or "levels".
        levels: Severities for "levels".
        clean: Whether leaving an image alone is one of the choices.
        grey: As in `corrupt`.

    Raises:
        UnknownNameError: If the suite, or one of `names` in it, does not exist.
        ConfigurationError: If nothing is left to choose from, or an option does not exist.

    References:
        arXiv:2406.17536; `medmnistc:medmnistc/augmentation.py`.

    Example:
        >>> augment = RandomCorruption("bloodmnist", stream="bloodmnist/train")
        >>> images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
        >>> augment(images, index=torch.tensor([5, 9]), epoch=1).shape
        torch.Size([2, 3, 32, 32])
    """

    def __init__(
        self,
        suite: str,
        *,
        seed: int = 0,
        stream: str = "",
        names: Sequence[str] | None = None,
        strength: Strength = "range",
        levels: Sequence[int] = SEVERITIES,
        clean: bool = True,
        grey: Grey = "convert",
    ) -> None:
        entries = load_suite(suite)
        for name in names or ():
            if name not in entries:
                raise unknown_name(f"corruption of suite {suite!r}", name, entries)
        if strength not in ("range", "levels"):
            raise ConfigurationError(f"strength={strength!r} is unknown. Choose range or levels.")
        for level in levels:
            check_severity(suite, level, SEVERITIES)
        check_grey(grey)
        self.entries = tuple(entries[name] for name in (entries if names is None else names))
        if not self.entries or not levels:
            raise ConfigurationError("there is no corruption to draw. Give names and levels.")
        self.suite, self.seed, self.stream = suite, seed, stream
        self.strength, self.levels = strength, tuple(levels)
        self.clean, self.grey = clean, grey

    def __repr__(self) -> str:
        """Show what decides the choices."""
        names = [entry.name for entry in self.entries]
        return (
            f"RandomCorruption({self.suite!r}, seed={self.seed}, stream={self.stream!r}, "
            f"names={names}, strength={self.strength!r}, clean={self.clean})"
        )

    def choose(self, index: IndexBatch, epoch: int = 0) -> list[Choice]:
        """Draw what each image gets.

        Args:
            index: int64 (N,), the row of each image in its source split.
            epoch: Another epoch, other choices.
        """
        key = derive_key(self.seed, self._stream(epoch), "random_corruption", 0)
        draws = Draws(key, torch.as_tensor(index).cpu())
        which = draws.integers(0, len(self.entries) + self.clean, 1)[:, 0].tolist()
        places = draws.uniform(2)[:, 1].tolist()
        return [self._choice(*pair) for pair in zip(which, places, strict=True)]

    def _choice(self, which: int, place: float) -> Choice:
        if which == len(self.entries):
            return Choice("clean", 0, {})
        entry = self.entries[which]
        if self.strength == "range":
            return Choice(entry.name, 0, parameters_between(entry, place))
        level = self.levels[int(place * len(self.levels))]
        return Choice(entry.name, level, entry.parameters(level))

    def __call__(
        self, images: UInt8Batch, *, index: IndexBatch | None = None, epoch: int = 0
    ) -> UInt8Batch:
        """Corrupt a batch.

        Args:
            images: uint8 (N, C, H, W), C = 1 or 3, 28 to 1024 pixels a side; not modified.
            index: int64 (N,), the row of each image in its source split; 0..N-1 by default.
            epoch: Of the training.

        Returns:
            uint8 of the shape of `images` (three channels for grey images with grey="rgb").

        Raises:
            InvalidImageError: If `images` or `index` is not as above.
        """
        check_batch(images)
        rows = rows_of(images, index)
        channels = 3 if self.grey == "rgb" else images.shape[1]
        out = images.expand(-1, channels, -1, -1).clone(memory_format=torch.contiguous_format)
        for choice, places in _grouped(self.choose(rows, epoch)):
            kernel, stream = self._kernel(choice.name), self._stream(epoch)
            out[places] = run_kernel(
                images[places],
                kernel,
                choice.parameters,
                key=key_of(kernel, self.seed, stream, choice.name, choice.severity),
                rows=rows[places],
                grey=self.grey,
            )
        return out

    def _stream(self, epoch: int) -> str:
        return f"{self.stream}/{epoch}"

    def _kernel(self, name: str) -> str:
        return next(entry.kernel for entry in self.entries if entry.name == name)


def parameters_between(entry: Entry, place: float) -> dict[str, Any]:
    """Give parameters at a place between the first severity (0) and the last one (1).

    Numbers are interpolated, whole ones truncated; of other values the nearest below is taken.

    Example:
        >>> from medrobust.corruptions.suites import find_entry
        >>> parameters_between(find_entry("chestmnist", "gaussian_blur"), 0.55)
        {'taps': 7}
    """
    return {
        name: _between(name, value, entry.beyond.get(name), place)
        if isinstance(value, list)
        else value
        for name, value in entry.table.items()
    }


def _between(name: str, values: Sequence[Any], beyond: Any, place: float) -> Any:
    first, last = values[0], values[-1] if beyond is None else beyond
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (first, last))
    if not numbers:
        return values[min(int(place * len(values)), len(values) - 1)]
    value = first + (last - first) * place
    if not (isinstance(first, int) and isinstance(last, int)):
        return value
    whole = int(value)
    return whole - 1 if name in ODD and whole % 2 == 0 else whole


def _grouped(choices: Sequence[Choice]) -> list[tuple[Choice, Tensor]]:
    """Collect the places of equal choices, `clean` left out."""
    groups: dict[str, tuple[Choice, list[int]]] = {}
    for place, choice in enumerate(choices):
        if choice.name != "clean":
            groups.setdefault(repr(choice), (choice, []))[1].append(place)
    return [(choice, torch.tensor(places)) for choice, places in groups.values()]
