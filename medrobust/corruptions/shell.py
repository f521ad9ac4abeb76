"""The random shell: look up the parameters, key the draws, run the kernel."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from medrobust.exceptions import ConfigurationError, InvalidImageError, unknown_name
from medrobust.keys import Draws, Key, derive_key
from medrobust.types import IndexBatch, UInt8Batch

from .batches import check_batch, to_grey
from .given import checked
from .kernels import KERNELS, kernel_function, kernel_parameters
from .suites import SEVERITIES, Entry, find_entry

Grey: TypeAlias = Literal["convert", "rgb"]

CHANNELS_A_DRAW = 16
"""Draw number d of a kernel owns the Philox numbers 16 d to 16 d + 15."""


def corrupt(
    images: UInt8Batch,
    name: str,
    *,
    severity: int,
    suite: str = "imagenet_c",
    seed: int = 0,
    stream: str = "",
    index: IndexBatch | None = None,
    grey: Grey = "convert",
    draws: Mapping[str, Tensor] | None = None,
) -> UInt8Batch:
    """Corrupt a batch of images.

    The result for an image depends on (seed, stream, name, severity), its index and its pixels:
    not on the batch it is in, the order, the threads, or the process.

    Args:
        images: uint8 (N, C, H, W), C = 1 or 3, 28 to 1024 pixels a side, any device; not modified.
        name: Corruption, as its suite calls it; "clean" (severity 0) returns the images.
        severity: 1 to 5.
        suite: Where the parameters come from; see `suites()`.
        seed: Seed of the draws.
        stream: Data set and split ("bloodmnist/test"), in training also the epoch.
        index: int64 (N,), the row of each image in its source split; 0..N-1 by default.
        grey: For images of one channel: "convert" corrupts three equal channels and converts
            back by the 601 weights; "rgb" returns the three channels.
        draws: Random arguments of the kernel by name, given instead of drawn: (N, ...) tensors of
            numbers as it draws them, see `given.GIVEN`.

    Returns:
        uint8 of the shape of `images` (three channels for grey images with grey="rgb").

    Raises:
        UnknownNameError: If the suite, or the corruption in it, does not exist.
        ConfigurationError: If the severity or `grey` does not exist, or a draw is of other numbers.
        InvalidImageError: If `images` or `index` is not as above.

    Example:
        >>> images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
        >>> corrupt(images, "brightness", severity=5).unique().tolist()
        [127]
    """
    if name != "clean":
        return corrupt_by(
            find_entry(suite, name),
            images,
            severity=severity,
            suite=suite,
            seed=seed,
            stream=stream,
            index=index,
            grey=grey,
            draws=draws,
        )
    check_batch(images)
    check_grey(grey)
    check_severity(name, severity, (0,))
    return images


def corrupt_by(
    entry: Entry,
    images: UInt8Batch,
    *,
    severity: int,
    suite: str,
    seed: int = 0,
    stream: str = "",
    index: IndexBatch | None = None,
    grey: Grey = "convert",
    draws: Mapping[str, Tensor] | None = None,
) -> UInt8Batch:
    """Corrupt a batch by an entry that was read from a suite; otherwise as `corrupt`.

    Args:
        entry: What the suite says.
        images: uint8 (N, C, H, W).
        severity: 1 to 5.
        suite: What a refusal calls it.
        seed: Seed of the draws.
        stream: Data set and split, in training also the epoch.
        index: int64 (N,); 0..N-1 by default.
        grey: "convert" or "rgb".
        draws: Random arguments of the kernel that are given instead of drawn.

    Raises:
        ConfigurationError: As `corrupt` does.
        InvalidImageError: If `images` or `index` is not as there.
    """
    check_batch(images)
    check_grey(grey)
    check_severity(entry.name, severity, SEVERITIES)
    parameters = entry.parameters(severity)
    check_parameters(suite, entry, parameters)
    return run_kernel(
        images,
        entry.kernel,
        parameters,
        key=key_of(entry.kernel, seed, stream, entry.name, severity),
        rows=rows_of(images, index),
        grey=grey,
        draws=draws,
    )


def key_of(kernel: str, seed: int, stream: str, name: str, severity: int) -> Key:
    """Derive the key of a corruption's draws; of a nested kernel they are shared.

    Example:
        >>> keys = [key_of("occlusion", 0, "", name, s) for name, s in (("hidden", 1), ("dim", 5))]
        >>> keys[0] == keys[1] == derive_key(0, "", "occlusion", 0)
        True
    """
    if KERNELS[kernel].nested:
        return derive_key(seed, stream, kernel, 0)
    return derive_key(seed, stream, name, severity)


def run_kernel(
    images: UInt8Batch,
    kernel: str,
    parameters: Mapping[str, Any],
    *,
    key: Key,
    rows: Tensor,
    grey: Grey = "convert",
    draws: Mapping[str, Tensor] | None = None,
) -> UInt8Batch:
    """Call a kernel with draws keyed by `key` and `rows`, grey images by way of RGB where needed.

    Args:
        images: uint8 (N, C, H, W), checked.
        kernel: Name of the kernel.
        parameters: All but its draws.
        key: From `key_of`.
        rows: int64 (N,) on the CPU.
        grey: As in `corrupt`.
        draws: Given instead of drawn, by name.

    Raises:
        UnknownNameError: If the kernel has no such draw.
        ConfigurationError: If a draw that is given is not as the kernel draws it.
    """
    facts = KERNELS[kernel]
    arguments = dict(parameters)
    for number, draw in enumerate(facts.draws):
        arguments[draw] = Draws(key, rows, CHANNELS_A_DRAW * number)
    function, as_it_is = kernel_function(kernel), facts.channelwise and grey == "convert"
    colored = images.shape[1] == 3 or as_it_is
    taken = images if colored else images.expand(-1, 3, -1, -1).contiguous()
    for draw, values in (draws or {}).items():
        if draw not in facts.draws:
            raise unknown_name(f"draw of {kernel!r}", draw, facts.draws)
        arguments[draw] = checked(kernel, draw, values, taken, parameters)
    out: UInt8Batch = function(taken, **arguments)
    return out if colored or grey == "rgb" else to_grey(out)


def check_severity(name: str, severity: int, allowed: tuple[int, ...]) -> None:
    """Refuse a severity that a corruption does not have."""
    if isinstance(severity, bool) or severity not in allowed:
        span = "1 to 5" if len(allowed) > 1 else str(allowed[0])
        raise ConfigurationError(f"{name!r} has no severity {severity!r}. Choose {span}.")


def check_parameters(suite: str, entry: Entry, given: Mapping[str, Any]) -> None:
    """Refuse parameters of a suite that its kernel does not take, or that are missing."""
    known = kernel_parameters(entry.kernel)
    missing = [name for name, needed in known.items() if needed and name not in given]
    wrong = [name for name in given if name not in known]
    if wrong or missing:
        found = f"has no parameter {wrong[0]!r}" if wrong else f"needs {missing[0]!r}"
        raise ConfigurationError(
            f"suite {suite!r}, corruption {entry.name!r}: the kernel {entry.kernel!r} {found}. "
            f"It takes: {', '.join(known) or 'none'}."
        )


def check_grey(grey: str) -> None:
    """Refuse an unknown treatment of grey images."""
    if grey not in ("convert", "rgb"):
        raise ConfigurationError(f"grey={grey!r} is unknown. Choose 'convert' or 'rgb'.")


def rows_of(images: UInt8Batch, index: IndexBatch | None) -> Tensor:
    """Check an index, or count: int64 (N,) on the CPU.

    Raises:
        InvalidImageError: If it is not one non-negative int64 an image.

    Example:
        >>> rows_of(torch.zeros(3, 1, 28, 28, dtype=torch.uint8), None).tolist()
        [0, 1, 2]
    """
    if index is None:
        return torch.arange(len(images))
    rows = torch.as_tensor(index).cpu().contiguous()
    if rows.dtype != torch.int64 or rows.shape != (len(images),) or bool((rows < 0).any()):
        raise InvalidImageError(
            f"index must be int64, one non-negative row an image ({len(images)}), got "
            f"{rows.dtype} of shape {tuple(rows.shape)}."
        )
    return rows
