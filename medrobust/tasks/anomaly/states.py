"""Which images count as normal: classes that a data set, or whoever asks, says so of."""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.base.once import found_once, say_once
from medrobust.base.targets import LESION, MaskedLabels
from medrobust.base.wording import part_of
from medrobust.exceptions import ConfigurationError

log = logging.getLogger(__name__)

READ = 64
"""Masks that are read at a time."""

NORMAL_NAMES = ("normal", "healthy", "good", "no finding")
"""Names of a class that count as normal without being asked."""


def normal_classes(data: Any) -> tuple[str, ...]:
    """Return the names of the classes in which nothing is found, in label order.

    Of a set of several labels an image they may be none: then an image without any label is normal.

    Args:
        data: An `ImageSet`, whose `normal` names them; of one that says nothing they are those
            called so, as "normal" is.

    Raises:
        ConfigurationError: If there are none, or a name is none of the classes.
    """
    names = data.class_names
    if data.label_kind is None:
        raise ConfigurationError(
            f"task=anomaly asks for what is not normal, and data set {data.name!r} has no labels."
        )
    unknown = [name for name in data.normal if name not in names]
    if unknown:
        raise ConfigurationError(
            f"dataset.normal names {unknown[0]!r}, which is no class of data set {data.name!r}: "
            f"{', '.join(map(repr, names))}."
        )
    several = data.labels.ndim == 2
    chosen = data.normal or [name for name in names if name.casefold() in NORMAL_NAMES]
    if len(chosen) in ((len(names),) if several else (0, len(names))):
        raise ConfigurationError(
            f"of data set {data.name!r} no class, or every one, is normal: pass "
            f"dataset.normal=[...] with some of {', '.join(map(repr, names))}."
        )
    return tuple(name for name in names if name in chosen)


def abnormal(data: Any, normal: Sequence[str]) -> NDArray[np.bool_]:
    """Say of each image whether anything else than the normal classes is found: bool (N,).

    Args:
        data: Facts and labels.
        normal: From `normal_classes`.
    """
    own = np.array([name in normal for name in data.class_names])
    labels = data.labels
    found: NDArray[np.bool_] = (
        labels[:, ~own].any(axis=1) if labels.ndim == 2 else ~own[labels].astype(bool)
    )
    return found


def check_both_states(data: Any, normal: Sequence[str]) -> None:
    """Refuse a split that has only one state; of a validation split say what cannot be fitted.

    Raises:
        ConfigurationError: Naming the split.
    """
    found = abnormal(data, normal)
    if found.any() and not found.all():
        return
    state = "abnormal" if found.all() else "normal"
    said = f"split {data.split!r} of data set {data.name!r} has {state} images alone"
    if data.split != "val":
        raise ConfigurationError(
            f"{said}: telling normal from abnormal needs both. Choose another split or other "
            f"classes by dataset.normal=[...]."
        )
    say_once(
        log,
        logging.WARNING,
        f"{said}: no threshold can be set on it, and false alarms are not counted",
    )


def say_positive(data: Any, normal: Sequence[str]) -> None:
    """Say that the positive class of a set has no part in the task, where that is a normal one."""
    if data.positive is not None and (name := data.class_names[data.positive]) in normal:
        say_once(
            log,
            logging.INFO,
            f"task=anomaly looks for what is not normal in data set {data.name!r}, whatever its "
            f"positive class is: {name!r} is normal",
        )


def masks_of_other_states(data: Any, normal: Sequence[str]) -> Iterator[str]:
    """Say of how many abnormal images no pixel is a lesion, and of how many normal ones some is.

    Args:
        data: Images with masks.
        normal: From `normal_classes`.
    """
    marked = found_once(("images with lesions", data.fingerprint), lambda: _marked(data.target))
    other = abnormal(data, normal)
    for state, wrong, among, then in (
        ("abnormal", ~marked & other, other, "all their pixels count as normal"),
        ("normal", marked & ~other, ~other, "these count as lesions"),
    ):
        if not wrong.any():
            continue
        images = part_of(int(wrong.sum()), int(among.sum()), f"{state} image")
        have = "without a pixel of a lesion" if state == "abnormal" else "with pixels of lesions"
        said = f"split {data.split!r} of data set {data.name!r} has {images} {have} in its masks"
        yield f"{said}: {then}"


def _marked(target: MaskedLabels) -> NDArray[np.bool_]:
    """Say of each image whether any pixel of it is of a lesion, a few at a time."""
    count = len(target.values)
    parts = [
        (target.pixels(slice(start, start + READ)) == LESION).any(axis=(1, 2))
        for start in range(0, count, READ)
    ]
    return np.concatenate(parts) if parts else np.zeros(0, bool)
