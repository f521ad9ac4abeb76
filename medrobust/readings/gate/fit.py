"""A gate fitted: envelope by a third of the units, tests by one image of each of the others.

Units are patients, or images where no patients are named.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.base.wording import agreeing, counted
from medrobust.exceptions import ConfigurationError, unknown_name
from medrobust.metrics.comparisons import generator
from medrobust.metrics.envelope import (
    Envelope,
    Step,
    candidates,
    envelope,
    fewest_units,
    fixed_sequence,
)
from medrobust.types import Float64Array, Int64Array

from .gate import Gate, Promise, accepted, values_of
from .pairs import Pair, condition_names, row_of, share

OF_A_GATE = (
    *("noise_sigma", "haar_sigma", "laplacian_variance", "sharpness", "entropy", "brightness"),
    *("contrast", "total_variation"),
)
"""Measures that a gate looks at, those of them that the store has: of an image alone, and quick."""

IN_LOGS = ("noise_sigma", "haar_sigma", "laplacian_variance", "total_variation")
"""Those of them whose spread grows with their size."""

ENVELOPE_SHARE = 1 / 3
"""Of the units: they say what clean images are like, and the others are tested."""

FEWEST_CLEAN = 20
"""Clean images that an envelope takes."""


def fit(found: Sequence[Pair], promise: Promise, *, of_class: str = "", modality: str = "") -> Gate:
    """Fit a gate: a third of the units say what clean images are like, the others are tested.

    Of each of those one image under one condition is drawn from the mixture, so that what is tested
    is independent. The images of the third under all conditions of the mixture also say how far
    anything is tested: a tested image beyond them counts as refused, as any other would be.

    Args:
        found: From `pairs`.
        promise: What it shall keep.
        of_class: As in `pairs`.
        modality: Of the images, as DICOM writes it ("CR"); empty: not compared.

    Raises:
        ConfigurationError: If there is no clean cell, one class, too few units, or no limit
            keeps the promise.
    """
    _check_found(found, promise, of_class)
    names = gate_measures(found)
    clean = next(pair for pair in found if pair.condition == "clean")
    used = [p for p in found if p.answers.spec.corruption not in promise.held_out]
    if promise.clean == 1:
        used = [pair for pair in used if pair.condition == "clean"]
    describing = _describing(clean.patients, promise.seed)
    described, near = _described(clean, used, names, describing)
    values, wrong = _drawn(used, names, promise, np.unique(clean.patients[~describing]))
    _check_count(len(wrong), promise, clean.unit)
    steps = fixed_sequence(
        described.distances(values).max(axis=1),
        wrong,
        candidates(near),
        alpha=promise.alpha,
        delta=promise.delta,
    )
    proven = [step for step in steps if step.p <= promise.delta]
    if not proven:
        raise _nothing_proven(steps, promise, clean.unit)
    gate = Gate(
        described,
        proven[-1].limit,
        promise,
        tuple(steps),
        _images(clean, modality),
        _about(clean, of_class),
        (0.0, 0.0, 1.0),
        {one: name for one, name in condition_names(used, {}).items() if name != "clean"},
        len(wrong),
    )
    kept, bounds = share(accepted(gate, clean)[~describing], clean.patients[~describing])
    return replace(gate, clean_kept=(bounds[0], kept, bounds[1]))


def gate_measures(found: Sequence[Pair]) -> tuple[str, ...]:
    """Return the measures that a gate can look at and every cell has.

    Raises:
        ConfigurationError: If there is none.
    """
    shared = set.intersection(*(set(pair.names) for pair in found))
    names = tuple(name for name in OF_A_GATE if name in shared)
    if not names:
        raise ConfigurationError(
            f"these cells hold none of {', '.join(OF_A_GATE)}: run again with quality=alone."
        )
    return names


def _check_found(found: Sequence[Pair], promise: Promise, of_class: str) -> None:
    if not any(pair.condition == "clean" for pair in found):
        raise ConfigurationError(
            "no clean images are measured in these stores: run again with quality=alone, which "
            "measures clean images of every run."
        )
    known = {pair.answers.spec.corruption for pair in found if pair.condition != "clean"}
    for name in promise.held_out:
        if name not in known:
            raise unknown_name("corruption of these stores", name, sorted(known))
    if promise.clean < 1 and not any(
        p.condition != "clean" and p.answers.spec.corruption not in promise.held_out for p in found
    ):
        raise ConfigurationError(
            "no corrupted images are left to fit on: hold out fewer, or pass --clean-share 1."
        )
    if not of_class and len(np.unique(found[0].target)) < 2:
        raise ConfigurationError(
            "all images are of one class, on which a model cannot go wrong by mixing it up: take "
            "a split with two classes or more."
        )


def _describing(patients: Int64Array, seed: int) -> NDArray[np.bool_]:
    """Choose the images of a third of the units, by seed."""
    known = np.unique(patients)
    order = generator(f"medrobust gate/envelope/{seed}").permutation(len(known))
    chosen = known[order < max(1, round(ENVELOPE_SHARE * len(known)))]
    return np.isin(patients, chosen)


def _described(
    clean: Pair, used: Sequence[Pair], names: tuple[str, ...], describing: NDArray[np.bool_]
) -> tuple[Envelope, Float64Array]:
    """Return the envelope of some clean images, and how far each of them is from it.

    Its range is that of the same images under every condition of the mixture.
    """
    values = values_of(clean, names)[describing]
    values = values[np.isfinite(values).all(axis=1)]
    if len(values) < FEWEST_CLEAN:
        units = len(np.unique(clean.patients))
        each = len(values) / max(1, len(np.unique(clean.patients[describing])))
        enough = f", about {math.ceil(FEWEST_CLEAN / each / ENVELOPE_SHARE)} in all" if each else ""
        raise ConfigurationError(
            f"{counted(len(values), 'clean image')} to describe clean images by: at least "
            f"{FEWEST_CLEAN} are needed, which a third of the {agreeing(2, clean.unit)} must have"
            f"{enough}; here are {units}."
        )
    tested = np.concatenate([values_of(pair, names)[describing] for pair in used])
    described = envelope(names, values, IN_LOGS, tested=tested)
    return described, described.distances(values).max(axis=1)


def _drawn(
    used: Sequence[Pair], names: tuple[str, ...], promise: Promise, patients: Int64Array
) -> tuple[Float64Array, NDArray[np.bool_]]:
    """Draw one image of each unit, under one condition of the mixture: values and errors."""
    rng = generator(f"medrobust gate/draw/{promise.seed}")
    clean = [pair for pair in used if pair.condition == "clean"]
    corrupted = [pair for pair in used if pair.condition != "clean"]
    columns = {id(pair): values_of(pair, names) for pair in used}
    values, wrong = [], []
    for patient in patients:
        from_clean = not corrupted or rng.random() < promise.clean
        pool = clean if from_clean else corrupted
        pair = pool[int(rng.integers(len(pool)))]
        row = int(rng.choice(np.flatnonzero(pair.patients == patient)))
        values.append(columns[id(pair)][row])
        wrong.append(bool(pair.wrong[row]))
    return np.array(values).reshape(len(wrong), len(names)), np.array(wrong, bool)


def _check_count(count: int, promise: Promise, unit: str) -> None:
    needed = fewest_units(promise.alpha, promise.delta)
    if count < needed:
        raise ConfigurationError(
            f"{counted(count, unit)} to test: even without an error, a risk of "
            f"{100 * promise.alpha:g} % takes {needed} of them (confidence "
            f"{100 * (1 - promise.delta):g} %). Take more {agreeing(2, unit)}, a larger --alpha, "
            f"or a larger --delta."
        )


def _nothing_proven(steps: Sequence[Step], promise: Promise, unit: str) -> ConfigurationError:
    units = agreeing(2, unit)
    if not steps:
        return ConfigurationError(
            f"too few images are like clean ones: under the mixture no limit accepts the "
            f"{fewest_units(promise.alpha, promise.delta)} {units} that a proof takes. Raise "
            f"--clean-share, --alpha or --delta, or take more {units}."
        )
    first = steps[0]
    return ConfigurationError(
        f"no limit keeps a risk of {100 * promise.alpha:g} %: among the images most like clean "
        f"ones the model errs on {first.errors} of {first.count} (p = {first.p:.2g}, at most "
        f"{promise.delta:g} is needed). Raise --alpha, take more {units}, or do not use the model."
    )


def _images(clean: Pair, modality: str) -> dict[str, Any]:
    """Say what the images are like, and how files are brought to their size."""
    dataset = (clean.answers.record.get("config") or {}).get("dataset") or {}
    return {
        "size": int(clean.images["size"][0]),
        "channels": int(clean.images["channels"]),
        "fit": str(dataset.get("fit") or "crop"),
        "bit_depth": int(dataset.get("bit_depth") or 16),
        "modality": modality,
    }


def _about(clean: Pair, of_class: str) -> dict[str, Any]:
    cell = clean.answers
    return {
        "model": cell.spec.model,
        "adapter": cell.spec.adapter,
        "dataset": cell.spec.dataset,
        "split": cell.spec.split,
        "of_class": of_class,
        "row": row_of(cell),
        "unit": clean.unit,
        "demonstration": cell.data.origin == "phantom",
    }
