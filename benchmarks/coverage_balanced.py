"""Intervals of means over classes where a class has few units, or patients are of several classes.

Part of `python -m benchmarks coverage`, under `balanced`. Balanced error, CE and relative CE (a
reference with three quarters of the error, half of the latent variance shared) and macro F1 of
classes of stated sizes; patients who fail as a whole, with an image of each class; and macro F1 of
a model that answers mostly one of two classes, summed over the binomial distributions. Where tables
have no interval, or a mark, a number stands in brackets.
"""

from collections.abc import Iterator, Sequence
from math import comb, sqrt
from statistics import NormalDist

import numpy as np

from medrobust.metrics.aggregates import error_influence, error_interval, mce_interval
from medrobust.metrics.classification import macro_f1
from medrobust.metrics.f1_bounds import f1_interval
from medrobust.metrics.intervals import balanced_interval, share_interval
from medrobust.metrics.paired import FEWEST_UNITS
from medrobust.tasks.classification.notes import FEWEST_OF_F1

NORMAL = NormalDist()
COLUMNS = ("classes", "units", "images of a unit", "error", "balanced error", "CE", "macro F1")
ONE_SIDED = ("images of a class", "recalls", "macro F1", "covers", "width")
WHOLE = ("patients", "fail", "plain error", "balanced error")
SIZES: tuple[tuple[tuple[int, ...], int, float], ...] = (
    ((1,) * 20, 3, 0.5),
    ((2,) * 8, 4, 0.5),
    ((3,) * 8, 4, 0.5),
    ((5,) * 8, 4, 0.5),
    ((5,) * 8, 4, 0.2),
    ((10,) * 8, 4, 0.5),
    ((50, 5), 4, 0.2),
    ((100, 10, 5), 4, 0.5),
    ((1,) * 20, 1, 0.5),
    ((2,) * 8, 1, 0.3),
    ((3,) * 8, 1, 0.3),
    ((3,) * 20, 1, 0.3),
    ((5,) * 8, 1, 0.3),
    ((5,) * 20, 1, 0.3),
    ((10, 2), 1, 0.3),
    ((300, 3), 1, 0.3),
    ((300, 5), 1, 0.3),
    ((300, 10), 1, 0.1),
)
"""Units of each class, images of each unit, and error."""


def wrong_answers(
    units: np.ndarray, errors: Sequence[float], rng: np.random.Generator
) -> np.ndarray:
    """Draw whether models are wrong, float64 (M, N); they share what is hard about a unit."""
    count = int(units.max()) + 1
    shared = rng.normal(size=count)
    return np.stack(
        [
            (
                sqrt(0.25) * (shared + rng.normal(size=count))[units]
                + sqrt(0.5) * rng.normal(size=len(units))
                < NORMAL.inv_cdf(error)
            ).astype(float)
            for error in errors
        ]
    )


def answers(labels: np.ndarray, units: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw answers int64 (N,) to images whose units share 64 % of the variance of logits."""
    classes = int(labels.max()) + 1
    logits = 0.8 * rng.normal(size=(int(units.max()) + 1, classes))[units]
    logits += 0.6 * rng.normal(size=logits.shape)
    return (logits + 1.5 * np.eye(classes)[labels]).argmax(axis=1)


def rows(repetitions: int, seed: int = 0) -> Iterator[Sequence[str]]:
    """Yield a line for each setting."""
    for sizes, images, error in SIZES:
        rng = np.random.default_rng([8, seed])
        labels = np.repeat(np.arange(len(sizes)), np.array(sizes) * images)
        units = np.repeat(np.arange(sum(sizes)), images)
        groups = None if images == 1 else units
        many = np.repeat(np.arange(len(sizes)), np.array(sizes) * (120_000 // sum(sizes)))
        true = macro_f1(answers(many, np.arange(len(many)), rng), many)
        rests = len(sizes) / sum(1 / size for size in sizes)
        held, defined = np.zeros(3), 0
        for _ in range(repetitions):
            wrong = wrong_answers(units, (error, 0.75 * error), rng)
            low, high = error_interval(wrong[0], labels, groups)
            held[0] += low <= error <= high
            values = np.mean(
                [wrong[:, labels == k].mean(axis=1) for k in range(len(sizes))], axis=0
            )
            if values.all():
                defined += 1
                one, other = error_influence(wrong, labels, groups)[:, None]
                low, high = mce_interval(values[:1], one, values[1:], other, groups, labels=labels)
                held[1] += low <= 4 / 3 <= high
            said = answers(labels, units, rng)
            value = macro_f1(said, labels)
            low, high = f1_interval(value, said, labels, groups, smallest=rests)
            held[2] += low <= true <= high
        covers = [f"{100 * c:.1f}" for c in held / (repetitions, max(defined, 1), repetitions)]
        for place, fewest in ((1, FEWEST_UNITS), (2, FEWEST_OF_F1)):
            if min(sizes) < fewest:
                covers[place] = f"({covers[place]})"
        named = (
            f"{len(sizes)} of {sizes[0]}" if len(set(sizes)) == 1 else ", ".join(map(str, sizes))
        )
        yield str(len(sizes)), named, str(images), f"{error:g}", *covers


def whole_rows(repetitions: int, seed: int = 0) -> Iterator[Sequence[str]]:
    """Yield a line for patients with an image of each of eight classes, all wrong or none."""
    for count, error in ((10, 0.05), (10, 0.1), (20, 0.05), (40, 0.03)):
        rng = np.random.default_rng([9, seed])
        labels, groups = np.tile(np.arange(8), count), np.repeat(np.arange(count), 8)
        held = np.zeros(2)
        for _ in range(repetitions):
            wrong = np.repeat((rng.random(count) < error).astype(float), 8)
            both = share_interval(wrong, groups), balanced_interval(wrong, labels, groups)
            held += [low <= error <= high for low, high in both]
        yield str(count), f"{error:g}", *(f"{100 * c:.1f}" for c in held / repetitions)


def one_sided_rows(repetitions: int, seed: int = 0) -> Iterator[Sequence[str]]:
    """Yield a line for each size and pair of recalls: exact, so that nothing is repeated."""
    for size in (5, 8, 15, 30):
        labels, hits = np.repeat([0, 1], size), np.arange(size + 1)
        found = []
        for first, second in np.ndindex(size + 1, size + 1):
            said = np.repeat([0, 1, 1, 0], [first, size - first, second, size - second])
            value = macro_f1(said, labels)
            assert value is not None
            found.append(f1_interval(value, said, labels, None, smallest=size))
        low, high = np.array(found).T.reshape(2, size + 1, size + 1)
        ways = np.array([comb(size, hit) for hit in hits])
        for recalls in ((0.98, 0.2), (0.98, 0.15), (0.98, 0.1), (0.85, 0.15), (0.9, 0.4)):
            first, second = recalls
            scores = 2 * first / (1 + first + 1 - second), 2 * second / (1 + second + 1 - first)
            true = sum(scores) / 2
            chance = np.multiply.outer(
                *(ways * r**hits * (1 - r) ** (size - hits) for r in recalls)
            )
            covers = 100 * float(chance[(low <= true) & (true <= high)].sum())
            width = 100 * float((chance * (high - low)).sum())
            named = f"{first:g}, {second:g}"
            yield str(size), named, f"{true:.3f}", f"{covers:.1f}", f"{width:.1f}"


TABLES = {
    "Means over classes of few units": (COLUMNS, rows, 1.0),
    "Patients of several classes who fail as a whole": (WHOLE, whole_rows, 1.0),
    "Macro F1 of a model that answers mostly one class": (ONE_SIDED, one_sided_rows, 1.0),
}
