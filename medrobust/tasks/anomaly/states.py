"""Which images count as normal: classes that a data set, or whoever asks, says so of."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.base.once import say_once
from medrobust.exceptions import ConfigurationError

log = logging.getLogger(__name__)

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
