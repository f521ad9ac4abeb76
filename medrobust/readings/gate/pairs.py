"""Cells of a model joined with the measures of the same images: one pair a condition."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.base.fingerprints import fingerprint
from medrobust.base.wording import counted
from medrobust.evaluation.store import Store, StoredCell
from medrobust.exceptions import ConfigurationError, StoreError, unknown_name
from medrobust.metrics.aggregates import group_codes
from medrobust.metrics.intervals import Bounds, share_interval
from medrobust.readings.cells.measured import MEASURES, images_of, of_images
from medrobust.reporting.measure import Measured
from medrobust.tasks.base import Terms
from medrobust.tasks.lookup import task_of
from medrobust.types import Float64Array, Int64Array


@dataclass(frozen=True, slots=True)
class Pair:
    """One condition of one split: what the images are like, and which answers are wrong.

    Attributes:
        answers: Cell of the model.
        images: Size and channels of the images.
        names: Measures.
        values: float64 (N, M).
        wrong: bool (N,).
        patients: int64 (N,) from 0; of each image its own number where no patients are named.
        target: int64 (N,), the class of each image.
    """

    answers: StoredCell
    images: Mapping[str, Any]
    names: tuple[str, ...]
    values: Float64Array
    wrong: NDArray[np.bool_]
    patients: Int64Array
    target: Int64Array

    @property
    def unit(self) -> str:
        """What is drawn and counted: "patient", or "image" where no patients are named."""
        return "image" if self.answers.data.groups is None else "patient"

    @property
    def condition(self) -> str:
        """Such as "gaussian_noise s3", or "clean"; of another suite it may be another one."""
        spec = self.answers.spec
        return "clean" if spec.severity == 0 else f"{spec.corruption} s{spec.severity}"

    @property
    def identity(self) -> str:
        """What the corruption does to pixels: equal where kernel, parameters and version are."""
        return fingerprint(_of_any_split(self.answers.record["encoding"]["corruption"]))


@dataclass(frozen=True, slots=True)
class Choice:
    """Which cells of a store a gate is about.

    Attributes:
        model: Name; empty: the only one.
        dataset: Name; empty: the only one.
        split: Of the data.
        of_class: Only images of this class count; empty: all.
    """

    model: str = ""
    dataset: str = ""
    split: str = "val"
    of_class: str = ""


def _of_any_split(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Take the digests of one split's masks and stored values from a corruption's identity."""
    found = dict(identity)
    for part in ("region", "domain"):
        if part in found:
            found[part] = list(found[part])[:2]
    if "composed" in found:
        found["composed"] = [_of_any_split(one) for one in found["composed"]]
    return found


def condition_names(found: Sequence[Pair], fitted: Mapping[str, str]) -> dict[str, str]:
    """Name conditions, with their suite where a name alone would stand for two.

    Args:
        found: Conditions of cells.
        fitted: Those of a gate, identity -> name.

    Returns:
        Identity of each of `found` -> its name.
    """
    meant: dict[str, set[str]] = {}
    known = [
        *((name, one) for one, name in fitted.items()),
        *((p.condition, p.identity) for p in found),
    ]
    for name, identity in known:
        meant.setdefault(name.partition(" (")[0], set()).add(identity)
    return {
        pair.identity: pair.condition
        if len(meant[pair.condition]) == 1
        else f"{pair.condition} ({pair.answers.spec.suite})"
        for pair in found
    }


def pairs(stores: Sequence[Store], choice: Choice) -> list[Pair]:
    """Join the cells of one model with the measures of the same images, each cell once.

    Raises:
        StoreError: If there is nothing to join; it says what makes it.
        ConfigurationError: If there are several models or data sets and none is named.
    """
    every = (cell for store in stores for cell in store.cells())
    cells = list({cell.fingerprint: cell for cell in every}.values())
    measured = {images_of(c): c for c in cells if of_images(c)}
    answers = [c for c in cells if task_of(c.task).of_models and c.spec.split == choice.split]
    if not answers:
        raise StoreError(
            f"these stores hold no cells of the split {choice.split!r}: run with "
            f"dataset.split={choice.split} quality=alone first, the same model and corruptions."
        )
    answers = _one("dataset", choice.dataset, _one("model", choice.model, answers))
    _one_row(answers)
    joined = [(c, measured[images_of(c)]) for c in answers if images_of(c) in measured]
    if not joined:
        raise StoreError(
            f"these stores hold no measures of the images of split {choice.split!r}: run the same "
            f"command again with dataset.split={choice.split} quality=alone; what is finished is "
            f"not computed again."
        )
    known = Measured()
    return [_pair(cell, images, known, choice.of_class) for cell, images in joined]


def _one(kind: str, name: str, cells: Sequence[StoredCell]) -> list[StoredCell]:
    known = sorted({getattr(c.spec, kind) for c in cells})
    if name and name not in known:
        raise unknown_name(f"{kind} of these stores", name, known)
    if not name and len(known) > 1:
        raise ConfigurationError(
            f"these stores hold several of them ({', '.join(known)}): add --{kind} NAME."
        )
    return [c for c in cells if not name or getattr(c.spec, kind) == name]


def _one_row(cells: Sequence[StoredCell]) -> None:
    """Refuse answers of one model under two prompt sets, precisions or versions of its data."""
    rows = {(row_of(c), c.data.fingerprint) for c in cells}
    if len(rows) > 1:
        raise ConfigurationError(
            f"these stores hold {counted(len(rows), 'row')} of that model (prompt sets, adapters, "
            f"precisions or versions of the data): a gate is about one. Use a store with that one "
            f"alone."
        )


def row_of(cell: StoredCell) -> str:
    """Fingerprint what answers: weights, adapter, precision, prompts; not the data's own part."""
    changing = ("corruption", "data", "seed", "stream")
    encoding = {k: v for k, v in cell.record["encoding"].items() if k not in changing}
    head = {k: v for k, v in cell.record["head"].items() if k != "name"}
    return fingerprint([encoding, head])


def _pair(cell: StoredCell, images: StoredCell, known: Measured, of_class: str) -> Pair:
    names = tuple(map(str, images.head[MEASURES]))
    wrong = wrong_answers(cell, known)
    groups = known.groups(cell.data)
    patients = np.arange(len(wrong)) if groups is None else groups
    target = np.asarray(cell.data.labels)
    rows = np.arange(len(wrong))
    if of_class:
        if of_class not in cell.data.class_names:
            raise unknown_name("class", of_class, cell.data.class_names)
        rows = np.flatnonzero(target == cell.data.class_names.index(of_class))
    return Pair(
        cell,
        images.record["encoding"]["images"],
        names,
        images.arrays[MEASURES][rows],
        wrong[rows],
        patients[rows],
        target[rows],
    )


def wrong_answers(cell: StoredCell, known: Measured) -> NDArray[np.bool_]:
    """Return whether the answer to each image is wrong, bool (N,).

    Raises:
        ConfigurationError: If answers of that task are not right or wrong, image by image.
    """
    for terms in known.scores(cell).terms.values():
        if not isinstance(terms, Terms) or terms.rows is not None:
            continue
        if terms.values.dtype == bool and terms.values.ndim == 1:
            return np.asarray(terms.values)
    raise ConfigurationError(
        f"answers to {cell.spec.dataset} are not simply right or wrong, image by image: a gate is "
        f"fitted for sets with one label an image."
    )


def share(held: NDArray[np.bool_], patients: Int64Array) -> tuple[float, Bounds]:
    """Return a share of images with its interval over patients."""
    return float(held.mean()), share_interval(held.astype(np.float64), group_codes(patients))
