"""Batches of shots: order, augmentation and every other choice keyed by seed, epoch and sample."""

import os
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from medrobust.base.targets import Labels, MaskedLabels, Masks
from medrobust.datasets.image_set import ImageSet
from medrobust.engine.loader import ahead, channel_first
from medrobust.exceptions import ConfigurationError
from medrobust.keys import Draws, derive_key
from medrobust.types import Int64Array, UInt8Array


@dataclass(frozen=True, slots=True)
class ShotPart:
    """Images of one data set within a batch.

    Attributes:
        dataset: Its number among the sets that are tuned on.
        images: uint8 (n, C, H, W), augmented.
        index: int64 (n,), what draws are keyed by.
        labels: int64 (n,) or (n, L); 0 where images are judged by texts or masks alone.
        weights: float32 (n,), share of each image in the loss of the whole batch; 0 for one that
            only keeps a process from having none.
        ids: Of the images.
        masks: uint8 (n, H, W), the class of each pixel (1 in lesions) and 255 outside of the
            images, augmented alike; None where nobody asks for them.
    """

    dataset: int
    images: Tensor
    index: Tensor
    labels: Tensor
    weights: Tensor
    ids: tuple[str, ...]
    masks: Tensor | None = None

    def to(self, device: torch.device) -> "ShotPart":
        """Move images, labels, weights and masks; the index stays, it is read on the CPU."""
        moved = {
            name: value.to(device, non_blocking=True)
            for name in ("images", "labels", "weights", "masks")
            if (value := getattr(self, name)) is not None
        }
        return replace(self, **moved)


@dataclass(frozen=True, slots=True)
class ShotBatch:
    """What one process sees of a batch.

    Attributes:
        epoch: From 0.
        parts: One a data set that occurs.
    """

    epoch: int
    parts: tuple[ShotPart, ...]

    def pin_memory(self) -> Self:
        """Copy the images to where a GPU reads them while others work; the loader calls this."""
        parts = tuple(replace(part, images=part.images.pin_memory()) for part in self.parts)
        return replace(self, parts=parts)


@dataclass(frozen=True, slots=True)
class Place:
    """One image of a batch: its row over all sets, its epoch, its weight in the loss."""

    row: int
    epoch: int
    weight: float


class ShotOrder:
    """Batches of a whole training, in an order that seed and epoch decide.

    All processes see parts of the same batches, so that the sum of what they do does not depend
    on their number.

    Args:
        count: Number of shots.
        batch_size: Over all processes.
        epochs: Passes.
        seed: Of the training.
        rank: Of this process.
        world: Number of processes.
        start: Batches that are done already.
        groups: int64 (count,), images of one number stand side by side; None: nothing does.
    """

    def __init__(
        self,
        count: int,
        *,
        batch_size: int,
        epochs: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        start: int = 0,
        groups: Int64Array | None = None,
    ) -> None:
        self.groups = groups
        self.count, self.batch_size, self.epochs, self.seed = count, batch_size, epochs, seed
        self.rank, self.world, self.start = rank, world, start
        self.per_epoch = -(-count // batch_size)

    def __len__(self) -> int:
        return self.per_epoch * self.epochs

    def order(self, epoch: int) -> list[int]:
        """Return the rows in the order of an epoch."""
        key = derive_key(self.seed, f"shots/{epoch}", "order", 0)
        words = Draws(key, torch.arange(self.count)).words(2)
        order: list[int] = torch.argsort((words[:, 0] << 31) ^ words[:, 1], stable=True).tolist()
        if self.groups is None:
            return order
        first: dict[int, int] = {}
        for place, group in enumerate(self.groups[order].tolist()):
            first.setdefault(group, place)
        return sorted(order, key=lambda row: first[int(self.groups[row])])  # type: ignore[index]

    def __iter__(self) -> Iterator[list[Place]]:
        order: list[int] = []
        for number in range(self.start, len(self)):
            epoch, batch = divmod(number, self.per_epoch)
            if batch == 0 or not order:
                order = self.order(epoch)
            whole = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            mine = whole[self.rank :: self.world]
            yield [Place(row, epoch, 1 / len(whole)) for row in mine] or [
                Place(whole[0], epoch, 0.0)
            ]


class SelectionOrder:
    """Rows 0..count-1 once, each in one process only."""

    def __init__(self, count: int, *, batch_size: int, rank: int, world: int) -> None:
        self.batches = [
            list(range(start, min(start + batch_size, count)))
            for start in range(0, count, batch_size)
        ]
        self.rank, self.world = rank, world

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[Place]]:
        for whole in self.batches:
            mine = whole[self.rank :: self.world]
            yield [Place(row, 0, 1.0) for row in mine] or [Place(whole[0], 0, 0.0)]


class Shots(Dataset[ShotBatch]):
    """Reads, and augments, images of several sets.

    Args:
        image_sets: Rows run over all of them, in this order.
        augment: Transforms of albumentations; empty for selection.
        seed: Of the augmentation.
        masks: Whether masks are read, of sets that have some.
    """

    def __init__(
        self,
        image_sets: Sequence[ImageSet],
        *,
        augment: Sequence[Any] = (),
        seed: int = 0,
        masks: bool = False,
    ) -> None:
        self.image_sets = tuple(image_sets)
        self.ends = np.cumsum([len(one) for one in self.image_sets])
        self.seed = seed
        self.masks = masks
        self.augment = _composed(augment) if augment else None

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitems__(self, places: Sequence[Place]) -> ShotBatch:
        """Read the images of one batch."""
        member = np.searchsorted(self.ends, [place.row for place in places], side="right")
        parts = [
            self._part(int(number), [p for p, m in zip(places, member, strict=True) if m == number])
            for number in dict.fromkeys(member.tolist())
        ]
        return ShotBatch(places[0].epoch, tuple(parts))

    def _part(self, number: int, places: Sequence[Place]) -> ShotPart:
        image_set = self.image_sets[number]
        first = int(self.ends[number]) - len(image_set)
        rows = np.array([place.row - first for place in places])
        index = torch.from_numpy(image_set.index[rows])
        images: Sequence[UInt8Array] = list(np.asarray(image_set.images[rows]))
        masks = self._masks(image_set, rows, images[0].shape[:2])
        if self.augment is not None:
            stream = f"{image_set.stream}/{places[0].epoch}"
            images, masks = self._augmented(images, masks, index, stream)
        return ShotPart(
            number,
            torch.from_numpy(channel_first(images)),
            index,
            torch.from_numpy(_labels(image_set)[rows]),
            torch.tensor([place.weight for place in places]),
            tuple(image_set.ids[rows].tolist()),
            None if masks is None else torch.from_numpy(np.stack(masks)),
        )

    def _masks(
        self, image_set: ImageSet, rows: Int64Array, shape: tuple[int, ...]
    ) -> Sequence[UInt8Array] | None:
        """Read the masks of images of that height and width, where they are asked for.

        Raises:
            ConfigurationError: If they are of another size.
        """
        target = image_set.target
        if not (self.masks and isinstance(target, MaskedLabels | Masks)):
            return None
        masks = list(target.pixels(rows))
        if masks[0].shape != shape:
            raise ConfigurationError(
                f"masks of {image_set.name} are {masks[0].shape} and its images {shape}: tuning "
                f"needs them of one size."
            )
        return masks

    def _augmented(
        self,
        images: Sequence[UInt8Array],
        masks: Sequence[UInt8Array] | None,
        index: Tensor,
        stream: str,
    ) -> tuple[list[UInt8Array], list[UInt8Array] | None]:
        """Augment each image, and its mask with it, by draws of its own."""
        assert self.augment is not None
        words = Draws(derive_key(self.seed, stream, "augmentation", 0), index).words(1)[:, 0]
        done, moved = [], []
        for number, (image, word) in enumerate(zip(images, words.tolist(), strict=True)):
            self.augment.set_random_seed(word)
            given = {} if masks is None else {"mask": masks[number]}
            augmented = self.augment(image=image, **given)
            done.append(augmented["image"])
            moved.append(augmented.get("mask"))
        shapes = {one.shape for one in done}
        if len(shapes) > 1 or done[0].dtype != np.uint8:
            raise ConfigurationError(
                f"tuning.augment gives images {sorted(shapes)} of {done[0].dtype}: they must all "
                f"be uint8 and of one size."
            )
        return done, None if masks is None else moved


def _labels(image_set: ImageSet) -> Int64Array:
    """Return labels, or zeros where images are judged by something else."""
    if not isinstance(image_set.target, Labels):
        return np.zeros(len(image_set), np.int64)
    return image_set.labels


def _composed(transforms: Sequence[Any]) -> Any:
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would ask a server for its version
    import albumentations

    return albumentations.Compose(list(transforms))


class ShotLoader(DataLoader[ShotBatch]):
    """Reads the next batches in a thread while the model learns from one.

    It can go on in the middle: its order starts where the training has come to.
    """

    _running: Generator[ShotBatch, None, None] | None = None

    def __iter__(self) -> Any:
        """Give the batches in order."""
        self._running = ahead(super().__iter__())  # it forks here, before the thread begins
        return self._running

    def close(self) -> None:
        """Stop the thread."""
        if self._running is not None:
            self._running.close()

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: the module counts the batches."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take nothing: the module has set the start of the order."""


def shot_loader(shots: Shots, order: ShotOrder | SelectionOrder, num_workers: int) -> ShotLoader:
    """Read the batches of an order."""
    return ShotLoader(
        shots,
        batch_sampler=order,
        collate_fn=_as_read,
        num_workers=num_workers,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=num_workers > 0,
    )


def _as_read(batch: Any) -> Any:
    return batch
