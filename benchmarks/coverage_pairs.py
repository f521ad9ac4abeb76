"""Differences between models: what their intervals cover, and how often tests and families err.

Part of `python -m benchmarks coverage`. Errors are thresholds of normal latents that share half of
their variance between models (and `LIKENESS` of it within a patient), so that the true difference
is known. Alternatives: Newcombe's tenth method for single images, D +- t sqrt(V) for patients and
means over classes, DeLong's normal interval for the AUC. `width` is the mean one, in points. Sign
flips are turned 1,999 times here, so that families of 40 models can be repeated.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import sqrt
from statistics import NormalDist

import numpy as np

from medrobust.metrics import compare_areas, compare_errors, flips
from medrobust.metrics.influence import areas
from medrobust.metrics.paired import Paired, bounds_of, paired, parts_of, quantiles

AT_ONCE = 3_000_000
"""Images of all repetitions that are drawn at once: of large sets there are fewer repetitions."""

ALIKE = 100
"""Repetitions that share their turns."""

SHARED = 0.5
LIKENESS = 0.4
NORMAL = NormalDist()
Rows = Iterator[Sequence[str]]


@dataclass(frozen=True)
class Pair:
    """Two models on images of some classes.

    Attributes:
        sizes: Images of each class.
        first: Error of the first model in each class.
        second: Error of the second.
        patient: Images of a patient, 1: each stands alone; 0: one patient has a quarter of all.
        balanced: Whether the mean over classes is compared.
    """

    sizes: tuple[int, ...]
    first: tuple[float, ...]
    second: tuple[float, ...]
    patient: int = 1
    balanced: bool = True

    @property
    def labels(self) -> np.ndarray:
        """int64 (N,)."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    @property
    def groups(self) -> np.ndarray | None:
        """int64 (N,) from 0, or None."""
        if self.patient == 1:
            return None
        if self.patient == 0:
            rest = sum(self.sizes) // 4 * 3
            return np.maximum(np.arange(sum(self.sizes)) - (sum(self.sizes) - rest), -1) // 4 + 1
        return np.concatenate(
            [np.arange(size) // self.patient + 10**6 * k for k, size in enumerate(self.sizes)]
        )

    @property
    def truth(self) -> float:
        """Difference of the errors there are."""
        if self.balanced:
            return float(np.mean(self.first) - np.mean(self.second))
        sizes = np.array(self.sizes) / sum(self.sizes)
        return float(sizes @ (np.array(self.first) - np.array(self.second)))

    def draw(self, repetitions: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Draw errors of both models: float64 (repetitions, N) each, and groups (N,) or None."""
        groups, labels = self.groups, self.labels
        codes = None if groups is None else np.unique(groups, return_inverse=True)[1].reshape(-1)
        latent = alike(repetitions, len(labels), rng)
        if codes is not None:
            own = alike(repetitions, int(codes.max()) + 1, rng)[:, :, codes]
            latent = sqrt(LIKENESS) * own + sqrt(1 - LIKENESS) * latent
        edges = [[NORMAL.inv_cdf(e) for e in errors] for errors in (self.first, self.second)]
        wrong = (latent < np.array(edges)[:, labels][:, None]).astype(float)
        return wrong[0], wrong[1], codes

    def __str__(self) -> str:
        sizes = "+".join(map(str, self.sizes))
        if len(self.sizes) > 1 and len(set(self.sizes)) == 1:
            sizes = f"{len(self.sizes)} × {self.sizes[0]}"
        both = dict.fromkeys(zip(self.first, self.second, strict=True))
        errors = ", ".join(f"{100 * a:g}/{100 * b:g}" for a, b in both)
        patient = {1: "", 0: "one has a quarter"}.get(self.patient, f"of {self.patient}")
        return f"{'balanced' if self.balanced else 'plain'} | {sizes} | {errors} | {patient}"


def alike(repetitions: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw latents of two models that share half of their variance: (2, repetitions, count)."""
    shared = rng.normal(size=(1, repetitions, count))
    return sqrt(SHARED) * shared + sqrt(1 - SHARED) * rng.normal(size=(2, repetitions, count))


def plain(size: int, first: float, second: float, patient: int = 1) -> Pair:
    """Describe a pair without classes."""
    return Pair((size,), (first,), (second,), patient, balanced=False)


def intervals() -> Iterator[Pair]:
    """List the pairs whose intervals are covered or not."""
    errors = ((0.005, 0.005), (0.02, 0.01), (0.1, 0.05), (0.3, 0.3), (0.5, 0.4))
    for size in (50, 200, 1000):
        yield from (plain(size, *pair) for pair in errors)
    for size, patient in ((50, 5), (100, 5), (250, 5), (1000, 5), (400, 0)):
        yield from (plain(size, *pair, patient) for pair in errors[1:4])
    for sizes in ((25, 25), (100, 10), (6,) * 8, (75,) * 8, (40, 30, 20, 10, 5)):
        for patient in (1, 5):
            own = tuple(size * patient for size in sizes)
            count = len(sizes)
            yield Pair(own, (0.02,) * count, (0.01,) * count, patient)
            yield Pair(own, (0.4,) * count, (0.3,) * count, patient)
            yield Pair(own, (0.05,) * (count - 1) + (0.5,), (0.05,) * (count - 1) + (0.3,), patient)


def newcombe(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return Newcombe's tenth method (Statistics in Medicine 17 (1998) 2635) for rows of errors."""
    count = first.shape[1]
    both, one = (first * second).sum(1), (first * (1 - second)).sum(1)
    two = ((1 - first) * second).sum(1)
    rest = count - both - one - two
    gain = both * rest - one * two
    gain = np.where(gain > 0, np.maximum(gain - count / 2, 0), gain)
    scale = np.sqrt((both + one) * (two + rest) * (both + two) * (one + rest))
    phi = np.where(scale > 0, gain / np.where(scale > 0, scale, 1), 0)
    shares = [(both + one) / count, (both + two) / count]
    z = NORMAL.inv_cdf(0.975)
    arms = []
    for p in shares:
        center = (p + z * z / (2 * count)) / (1 + z * z / count)
        half = z / (1 + z * z / count) * np.sqrt(p * (1 - p) / count + z * z / (4 * count**2))
        arms.append((p - np.maximum(center - half, 0), np.minimum(center + half, 1) - p))
    sides = []
    for own, other in ((arms[0][0], arms[1][1]), (arms[0][1], arms[1][0])):
        sides.append(np.sqrt(np.maximum(own**2 + other**2 - 2 * phi * own * other, 0)))
    difference = shares[0] - shares[1]
    return difference - sides[0], difference + sides[1]


def wald(found: Paired, units: int) -> tuple[np.ndarray, np.ndarray]:
    """Return D +- t sqrt(V) with as many degrees of freedom as there are units, less one."""
    spread = np.maximum(found.ups + found.downs - found.difference**2, 0)
    error = np.sqrt(spread / found.images)
    half = quantiles(np.full(len(error), float(units - 1))) * error
    return found.difference - half, found.difference + half


def covered(bounds: tuple[np.ndarray, np.ndarray], truth: float) -> tuple[float, float]:
    """Return coverage and mean width, in percent and points."""
    low, high = bounds
    held = (low <= truth + 1e-12) & (truth - 1e-12 <= high)
    return 100 * float(held.mean()), 100 * float((high - low).mean())


def fewer_turns() -> None:
    """Turn signs less often than reports do."""
    flips.FEWEST_TURNS, flips.TURNS_PER_TEST = 1_999, 0


def interval_rows(repetitions: int, seed: int = 0) -> Rows:
    """Simulate intervals of differences of errors."""
    rng = np.random.default_rng([11, seed])
    for pair in intervals():
        first, second, groups = pair.draw(min(repetitions, AT_ONCE // sum(pair.sizes)), rng)
        labels = pair.labels if pair.balanced else None
        parts = parts_of(labels, groups, first.shape[1])
        found = paired(first - second, parts)
        own = covered(bounds_of(found), pair.truth)
        if groups is None and not pair.balanced:
            name, other = "Newcombe", covered(newcombe(first, second), pair.truth)
        else:
            units = int(max(part.units.max() for part in parts)) + 1
            name, other = "Wald t", covered(wald(found, units), pair.truth)
        differing = float((first != second).sum(axis=1).mean())
        yield (
            *str(pair).split(" | "), f"{differing:.1f}", f"{own[0]:.1f}", f"{own[1]:.1f}",
            name, f"{other[0]:.1f}", f"{other[1]:.1f}",
        )  # fmt: skip


def area_rows(repetitions: int, seed: int = 0) -> Rows:
    """Simulate intervals and tests of differences of AUCs; what is empty counts as neither."""
    rng = np.random.default_rng([12, seed])
    for positives, negatives in ((5, 200), (8, 200), (10, 200), (15, 200), (40, 200), (100, 100)):
        for one, two in ((0.7, 0.7), (0.9, 0.9), (0.99, 0.99), (0.99, 0.9)):
            labels = np.repeat([1, 0], [positives, negatives])
            own, delong, rejected = [], [], 0
            for _ in range(repetitions):
                latent = alike(1, len(labels), rng)[:, 0]
                shift = np.array([sqrt(2) * NORMAL.inv_cdf(a) for a in (one, two)])
                scores = latent + shift[:, None] * labels
                pair = [
                    areas(np.c_[-s, s], labels, label_kind="binary-class", positive=1)
                    for s in scores
                ]
                (found,) = compare_areas(
                    pair, np.array([[0, 1]]), labels=labels, groups=None, key=_fresh(rng)
                )
                gap = (pair[0].influence - pair[1].influence) / len(labels)
                half = 1.96 * sqrt(float((gap**2).sum()))
                delong.append((found.difference - half, found.difference + half))
                rejected += found.p < 0.05
                if found.low is not None:
                    own.append((found.low, found.high))
            ours = covered(tuple(np.array(own).T), one - two) if own else None
            theirs = covered(tuple(np.array(delong).T), one - two)
            shown = ("empty", "") if ours is None else (f"{ours[0]:.1f}", f"{ours[1]:.1f}")
            share = 100 * rejected / repetitions
            yield (
                f"{positives}+{negatives}", f"{one}/{two}", *shown,
                f"{theirs[0]:.1f}", f"{theirs[1]:.1f}", f"{share:.1f}",
            )  # fmt: skip


def level_rows(repetitions: int, seed: int = 0) -> Rows:
    """Simulate how often a pair of equal errors has p < .05, and how often it has a p at all."""
    rng = np.random.default_rng([13, seed])
    sizes = ((200,), (25, 25), (100, 10), (300, 7), (300, 5), (6,) * 8, (40, 30, 20, 10, 5))
    for own in sizes:
        for patient in (1, 5):
            scaled, count = tuple(size * patient for size in own), len(own)
            nulls = {"alike": ((0.2,) * count, (0.2,) * count)}
            nulls["rare"] = ((0.02,) * count, (0.02,) * count)
            if count > 1:
                for name, (base, top, gap) in {
                    "traded 10": (0.1, 0.3, 0.1), "traded 20": (0.02, 0.8, 0.2),
                    "traded 70": (0.1, 0.8, 0.7),
                }.items():  # fmt: skip
                    even = base + gap / (count - 1)
                    nulls[name] = (
                        (base,) * (count - 1) + (top,),
                        (even,) * (count - 1) + (top - gap,),
                    )
            shares = []
            for first, second in nulls.values():
                pair = Pair(scaled, first, second, patient, balanced=count > 1)
                shares.append(f"{100 * _rejected(pair, repetitions, rng):.1f}")
            yield (*str(pair).split(" | ")[:2], f"of {patient}" if patient > 1 else "",
                   *shares, *[""] * (5 - len(shares)))  # fmt: skip


def _rejected(pair: Pair, repetitions: int, rng: np.random.Generator) -> float:
    """Return the share of repetitions whose p is below .05, each with turns of its own chunk."""
    labels, found = pair.labels if pair.balanced else None, 0
    for start in range(0, repetitions, ALIKE):
        number = min(ALIKE, repetitions - start)
        first, second, groups = pair.draw(number, rng)
        pairs = np.arange(2 * number).reshape(2, -1).T
        tested = compare_errors(
            np.vstack([first, second]), pairs, labels=labels, groups=groups, key=_fresh(rng)
        )
        found += sum(one.p < 0.05 for one in tested)
    return found / repetitions


def _fresh(rng: np.random.Generator) -> str:
    """Return a key of turns that no other repetition has."""
    return rng.bytes(16).hex()


def family_rows(repetitions: int, seed: int = 0) -> Rows:
    """Simulate families: any false finding, and power for 20 against 50 % of 200 images."""
    for models in (2, 5, 8, 12, 13, 28, 40):
        for balanced in (False, True):
            for patients in (None, 40):
                yield family_row(models, balanced, patients, repetitions, seed)


def family_row(
    models: int, balanced: bool, patients: int | None, runs: int, seed: int
) -> Sequence[str]:
    """Simulate one setting; its draws are its own, whatever is run beside it."""
    rng = np.random.default_rng([14, seed, models, balanced, patients or 0])
    count = 200
    labels = np.arange(count) % 4 if patients is None else np.arange(count) // 5 % 4
    groups = None if patients is None else np.arange(count) // (count // patients)
    pairs = np.array(list(combinations(range(models), 2)))
    false = partly = alone = together = 0
    for _ in range(runs):
        same = _errors(np.full(models, 0.2), count, groups, rng)
        mixed = _errors(np.r_[0.5, np.full(models - 1, 0.2)], count, groups, rng)
        found = [
            compare_errors(
                wrong, pairs, labels=labels if balanced else None, groups=groups, key=_fresh(rng)
            )
            for wrong in (same, mixed)
        ]
        false += min(one.p_familywise for one in found[0]) < 0.05
        true = [one for pair, one in zip(pairs, found[1], strict=True) if pair[0] == 0]
        rest = [one for pair, one in zip(pairs, found[1], strict=True) if pair[0] > 0]
        partly += bool(rest) and min(one.p_familywise for one in rest) < 0.05
        alone += np.mean([one.p < 0.05 for one in true])
        together += np.mean([one.p_familywise < 0.05 for one in true])
    shares = (false, partly, alone, together)
    return (
        str(models), "balanced" if balanced else "plain",
        "" if patients is None else f"{patients}", str(runs),
        *(f"{100 * share / runs:.1f}" for share in shares),
    )  # fmt: skip


def bound_rows(repetitions: int, seed: int = 0) -> Rows:
    """Say what families of 40 models with 40 patients find where the null distribution is known.

    The critical value is the 95 % point of the largest statistic among the models of 20 % error, as
    simulated: no procedure with that statistic finds more. Its variance is the test's own, or drawn
    to the middle one of the family as by 10 and 40 patients more. `near`: a model that fails where
    its twin does, and on 12 % of the other images.
    """
    pairs = np.array(list(combinations(range(40), 2)))
    first, second = pairs.T
    others, groups = (first != 2) & (second != 2), np.arange(200) // 5
    different, alike = others & (first == 0), others & (first > 0)
    near = (pairs == (1, 2)).all(axis=1)
    for balanced in (False, True):
        rng, found = np.random.default_rng([15, seed, balanced]), {0: [], 10: [], 40: []}
        for _ in range(repetitions):
            wrong = _errors(np.r_[0.5, np.full(39, 0.2)], 200, groups, rng)
            wrong[2] = np.maximum(wrong[1], rng.random(200) < 0.12)
            means = wrong.reshape(40, 40, 5).mean(axis=2)
            parts = means.reshape(40, 10, 4) if balanced else means[:, :, None]
            spread = (parts - parts.mean(axis=1, keepdims=True)).reshape(40, 40)
            gaps = ((spread[first] - spread[second]) ** 2).sum(axis=1)
            own = gaps / (40 * (40 - parts.shape[2]))
            gap = np.abs(means[first].mean(axis=1) - means[second].mean(axis=1))
            for units, seen in found.items():
                middle = np.median(own)
                seen.append(gap / np.sqrt((40 * own + units * middle) / (40 + units)))
        for units, seen in found.items():
            all_ = np.array(seen)
            limit = np.quantile(all_[:, alike].max(axis=1), 0.95)
            yield (
                "balanced" if balanced else "plain", f"{units}", f"{limit:.2f}",
                f"{100 * (all_[:, different] > limit).mean():.1f}",
                f"{100 * (all_[:, near] > limit).mean():.1f}",
            )  # fmt: skip


def _errors(
    errors: np.ndarray, count: int, groups: np.ndarray | None, rng: np.random.Generator
) -> np.ndarray:
    latent = sqrt(SHARED) * rng.normal(size=count)
    latent = latent + sqrt(1 - SHARED) * rng.normal(size=(len(errors), count))
    if groups is not None:
        units = int(groups.max()) + 1
        own = sqrt(SHARED) * rng.normal(size=units)
        own = own + sqrt(1 - SHARED) * rng.normal(size=(len(errors), units))
        latent = sqrt(LIKENESS) * own[:, groups] + sqrt(1 - LIKENESS) * latent
    return (latent < np.array([[NORMAL.inv_cdf(e)] for e in errors])).astype(float)


TABLES = {
    "Intervals of differences of errors": (
        ("error", "images", "errors, %", "patients", "differ", "score", "width", "other",
         "covers", "width"),
        interval_rows, 4.0,
    ),
    "Differences of AUCs": (
        ("positives+negatives", "AUCs", "covers", "width", "DeLong", "width", "p < .05, %"),
        area_rows, 1.0,
    ),
    "Type I error of one pair, %": (
        ("error", "images", "patients", "alike", "rare", "traded 10", "traded 20", "traded 70"),
        level_rows, 2.0,
    ),
    "Families: any false finding, and power, %": (
        ("models", "error", "patients", "runs", "false, all alike", "false, one differs",
         "power, p", "power, family"),
        family_rows, 0.5,
    ),
    "Families of 40 models and 40 patients at the true critical value, %": (
        ("error", "variance drawn by", "critical value", "power, 20 against 50", "power, near"),
        bound_rows, 0.5,
    ),
}  # fmt: skip
"""Title -> columns, rows, and share of the repetitions."""
