"""What tuning may choose: the recipe that a file in conf/tuning builds, apart from the adapter."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeAlias, get_args

import torch

from medrobust import keys
from medrobust.adapters.stored_heads import fitted_head
from medrobust.base.given import check_whole
from medrobust.corruptions import Corruption, Suite
from medrobust.exceptions import ConfigurationError, MedRobustError
from medrobust.keys import Draws, derive_key
from medrobust.types import IndexBatch, UInt8Batch

from .minimised import Settings, weights_of

LabelSpace: TypeAlias = Literal["per_dataset", "joint"]
Schedule: TypeAlias = Literal["cosine", "constant"]
Features: TypeAlias = Literal["unit", "raw"]
Choose: TypeAlias = Literal["best", "last", "best_on_test"]
Repeated: TypeAlias = bool | Literal["count"]

DEFAULT_FRACTION = 0.1


class TuningError(MedRobustError, RuntimeError):
    """Tuning that must not go on: a guard has found something wrong."""


@dataclass(frozen=True, slots=True)
class CorruptedShots:
    """Corrupts a part of the training images, other ones in every epoch.

    Args:
        columns: Corruptions and suites; every one of them is equally likely.
        probability: Share of images that are corrupted.
        severities: Each equally likely.
    """

    columns: Sequence[Corruption | Suite]
    probability: float = 0.75
    severities: Sequence[int] = (1, 2, 3, 4, 5)
    _expanded: tuple[Corruption, ...] = field(default=(), init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse what could not be drawn; read suites of one's own, once for the whole tuning.

        Raises:
            ConfigurationError: Naming the key.
            UnknownNameError: If a corruption does not exist.
        """
        wrong = [level for level in self.severities if level not in range(1, 6)]
        if wrong or not self.severities or not 0 <= self.probability <= 1:
            raise ConfigurationError(
                f"tuning.corrupt.severities={list(self.severities)} must be of 1 to 5 and "
                f"tuning.corrupt.probability={self.probability} in [0, 1]."
            )
        expanded = tuple(one for column in self.columns for one in column.expand(None))
        if not expanded:
            raise ConfigurationError("tuning.corrupt.columns names no corruption.")
        object.__setattr__(self, "_expanded", expanded)

    def description(self) -> dict[str, Any]:
        """Return what decides the pixels."""
        return {
            "columns": [
                [one.identity(level) for level in self.severities] for one in self._expanded
            ],
            "probability": self.probability,
        }

    def __call__(
        self, images: UInt8Batch, index: IndexBatch, *, stream: str, seed: int
    ) -> UInt8Batch:
        """Corrupt images (n, C, H, W); which and how depends on seed, stream and index alone.

        Args:
            images: Not modified.
            index: What the draws are keyed by.
            stream: Data set, split and epoch ("bloodmnist/train/7").
            seed: Of the training.
        """
        columns = self._expanded
        draws = Draws(derive_key(seed, stream, "which corruption", 0), index.cpu())
        chance = draws.uniform(1)[:, 0]
        number = len(columns) * len(self.severities)
        choice = Draws(draws.key, draws.index, number=1).integers(0, number, 1)[:, 0]
        out = images.clone()
        for value in torch.unique(choice).tolist():
            rows = torch.nonzero((choice == value) & (chance < self.probability))[:, 0]
            if len(rows):
                column, level = divmod(value, len(self.severities))
                out[rows.to(out.device)] = columns[column](
                    images[rows.to(images.device)],
                    severity=self.severities[level],
                    seed=seed,
                    stream=stream,
                    index=index.cpu()[rows],
                )
        return out


@dataclass(frozen=True)
class Tuning:
    """How an adapter is tuned (`tuning=few_shot`).

    Args:
        optimizer: Builds the optimiser from parameters.
        fraction: Share of the pool, stratified; 0.1 if neither this nor `shots` is given.
        shots: Images a class.
        pool: Split that shots come from, never "test".
        select_from: Split that chooses the epoch; None: what remains of the pool.
        datasets: Names of the data sets to tune on; None: all that are evaluated.
        leave_out_repeats: Take images out of the pools that show the same as an image of any
            evaluated split, by perceptual hash; the labels of those splits are not looked at.
            "count" leaves them in, and says how many they are.
        seed: Of first values, order, augmentation and dropout.
        shot_seed: Of the draw of shots.
        label_space: "per_dataset": softmax over the classes of the sample's own set; "joint": over
            the classes of all sets, which then need different texts.
        epochs: Passes over the shots.
        batch_size: Images a step, over all devices together.
        accumulate: Batches an optimiser step.
        warmup: Share of the steps in which the learning rate rises.
        schedule: Of the learning rate after that.
        clip: Largest norm of the gradient, None for no limit.
        augment: Transforms of albumentations, applied in order.
        corrupt: Corruptions as augmentation, after those.
        features: "unit", or "raw" (not normalised, as the code of RobustMedCLIP trains).
        logit_scale: Multiplier of the cosine; None: the model's own.
        choose: "best" epoch by the selection part, or the "last"; "best_on_test": by the evaluated
            splits, labels and all, as the code of RobustMedCLIP does. Its errors are too low: to
            compare with, and said beside every table.
        patience: Stop after so many epochs without a better one.
        gradient_checkpointing: Compute blocks again in the backward pass, to save memory.
        save_every: Optimiser steps between two files to resume from; None: once an epoch.
        interpolation: Evaluate weights at that share of the way from the published to the tuned
            ones (WiSE-FT); the artifact is the same.
        objective: What is minimised: objective -> weight, or names that weigh 1 each, of
            `OBJECTIVES`; None: cross-entropy against the class texts, or against reports.
        temperature: What cosines are divided by in contrasts of images.
        pair_column: Metadata column that numbers pairs, for the objective same_pair.
        measures: Metadata columns of numbers, for the objective measures.
        head: Fitted on the shots as the tuned tower sees them, and answers in place of class
            texts: "linear_probe", "knn", "prototypes"; None: class texts answer.
    """

    optimizer: Callable[..., torch.optim.Optimizer]
    fraction: float | None = None
    shots: int | None = None
    pool: str = "train"
    select_from: str | None = None
    datasets: Sequence[str] | None = None
    leave_out_repeats: Repeated = False
    seed: int = 0
    shot_seed: int = 0
    label_space: LabelSpace = "per_dataset"
    epochs: int = 20
    batch_size: int = 32
    accumulate: int = 1
    warmup: float = 0.1
    schedule: Schedule = "cosine"
    clip: float | None = 1.0
    augment: Sequence[Any] = ()
    corrupt: CorruptedShots | None = None
    features: Features = "unit"
    logit_scale: float | None = None
    choose: Choose = "best"
    patience: int | None = None
    gradient_checkpointing: bool = False
    save_every: int | None = None
    interpolation: float = 1.0
    objective: Mapping[str, float] | Sequence[str] | None = None
    temperature: float = 0.07
    pair_column: str | None = None
    measures: Sequence[str] = ()
    head: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be trained.

        Raises:
            ConfigurationError: Naming the key.
        """
        check_whole("tuning.shots", self.shots, null="tuning.fraction")
        whole = {n: getattr(self, n) for n in ("epochs", "batch_size", "accumulate")}
        for name, value in whole.items():
            if value < 1:
                raise ConfigurationError(f"tuning.{name}={value} must be at least 1.")
        for name, known in (
            ("label_space", LabelSpace),
            ("schedule", Schedule),
            ("features", Features),
            ("choose", Choose),
        ):
            if getattr(self, name) not in get_args(known):
                raise ConfigurationError(
                    f"tuning.{name}={getattr(self, name)!r} is none of "
                    f"{', '.join(get_args(known))}."
                )
        if not isinstance(self.leave_out_repeats, bool) and self.leave_out_repeats != "count":
            raise ConfigurationError(
                f"tuning.leave_out_repeats={self.leave_out_repeats!r}: write true, false or count."
            )
        for name in ("pool", "select_from"):
            if getattr(self, name) == "test":
                raise ConfigurationError(
                    f"tuning.{name}=test: the test split is only ever evaluated. Choose train or "
                    f"val."
                )
        if not 0 <= self.interpolation <= 1:
            raise ConfigurationError(
                f"tuning.interpolation={self.interpolation} must be in [0, 1]."
            )
        if not 0 <= self.warmup < 1:
            raise ConfigurationError(f"tuning.warmup={self.warmup} must be a share below 1.")
        if not self.temperature > 0:
            raise ConfigurationError(f"tuning.temperature={self.temperature} must be above 0.")
        weights_of(self.objective)
        if self.head is not None:
            fitted_head(self.head)
            if self.interpolation != 1:
                raise ConfigurationError(
                    f"tuning.head={self.head} is fitted on the tuned weights, and "
                    f"tuning.interpolation={self.interpolation} evaluates others: leave one out."
                )

    @property
    def objectives(self) -> Settings | None:
        """What is minimised, where that was said."""
        weights = weights_of(self.objective)
        if weights is None:
            return None
        return Settings(weights, self.temperature, self.pair_column, tuple(self.measures))

    @property
    def amount(self) -> dict[str, Any]:
        """How many shots, as `medrobust.datasets.sampling.few_shots` takes it."""
        if self.fraction is None and self.shots is None:
            return {"fraction": DEFAULT_FRACTION}
        return {"fraction": self.fraction, "shots": self.shots}

    @property
    def amount_label(self) -> str:
        """How many shots, for names: "10%", "4 shots"."""
        if self.shots is not None:
            return f"{self.shots} shots"
        return f"{100 * self.amount['fraction']:g}%"

    @property
    def objective_label(self) -> str:
        """What is minimised and what answers, for names; empty by default.

        ", class_texts + 0.5 consistency", ", consistency, knn".
        """
        weights = weights_of(self.objective) or {}
        parts = [name if weight == 1 else f"{weight:g} {name}" for name, weight in weights.items()]
        told = f", {' + '.join(parts)}" if parts else ""
        return told if self.head is None else f"{told}, {self.head}"

    def description(self) -> dict[str, Any]:
        """Return the plain values that decide the tuned weights."""
        hidden = (
            "optimizer", "augment", "corrupt", "datasets", "save_every", "interpolation",
            "objective", "temperature", "pair_column", "measures", "head",
        )  # fmt: skip
        minimised = self.objectives
        plain = {n: getattr(self, n) for n in self.__dataclass_fields__ if n not in hidden}
        return plain | {
            **self.amount,
            "optimizer": _describe(self.optimizer),
            "augment": [_transform(one) for one in self.augment],
            "corrupt": None if self.corrupt is None else self.corrupt.description(),
            "keys": keys.FORMAT,
            **({} if minimised is None else minimised.description()),
            **({} if self.head is None else {"head": fitted_head(self.head).description()}),
        }

    def rate(self, step: int, steps: int) -> float:
        """Return the factor of the learning rate at an optimiser step, counted from 0."""
        rising = round(self.warmup * steps)
        if step < rising:
            return (step + 1) / (rising + 1)
        if self.schedule == "constant":
            return 1.0
        done = (step - rising) / max(1, steps - rising)
        return 0.5 * (1 + float(torch.cos(torch.tensor(torch.pi * done))))


def _describe(optimizer: Callable[..., Any]) -> dict[str, Any]:
    """Name an optimiser and its settings."""
    if not isinstance(optimizer, partial):
        return {"name": optimizer.__name__}
    values: Mapping[str, Any] = optimizer.keywords
    return {"name": optimizer.func.__name__} | {
        name: list(value) if isinstance(value, list | tuple) else value
        for name, value in sorted(values.items())
    }


def _transform(transform: Any) -> dict[str, Any]:
    """Return what albumentations writes of a transform: its name and settings."""
    written = transform.to_dict()["transform"]
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in written.items()
    }
