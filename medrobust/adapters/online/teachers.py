"""CoTTA and RoTTA: a slow teacher answers, and a student learns of it.

    cotta   all weights of the image side. The student goes down the cross-entropy of its answers
            against the teacher's; where the mean of the largest probability of the model as it was
            is below `sure`, the teacher answers the mean of its logits on `views` of each image.
            Then teacher <- momentum teacher + (1 - momentum) student, and a share `restored` of the
            student's scales, shifts, weights and biases, drawn anew each time, goes back to the
            model as it was. The teacher's logits before that answer.
    rotta   scale and shift of normalisation. The teacher answers by slow statistics
            ((1 - alpha) of what they were, alpha of the batch, moved while it learns). A memory of
            `memory` images keeps each class that is predicted apart, at most memory / K of it; an
            image takes the place of the one with the highest
                1 / (1 + exp(-age / memory)) + H / ln K
            of its class, or of the largest classes where that one has room and the memory none, if
            its own is lower. After every `memory` images the student goes down the cross-entropy
            on a view of each kept image against the teacher's answer to the image, weighted by
            exp(-a) / (1 + exp(-a)), a = age / memory; then the teacher follows.

Views are crops with flips (see `views`) in place of the public code's chain of colours, shifts and
blur, and keyed. Sources: Wang et al., arXiv:2203.13591 (`qinenergy/cotta`); Yuan et al.,
arXiv:2303.13899 (`BIT-DA/RoTTA`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import exp, log
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from medrobust.adapters.base import visual_tower
from medrobust.exceptions import ConfigurationError
from medrobust.keys import Draws, derive_key
from medrobust.models.encoding import all_images_count, images_that_count
from medrobust.types import Int64Array, LogitBatch, PixelBatch, UInt8Batch

from .adapting import Scene, Session, answered, entropies
from .base import check
from .batch_norm import check_share
from .entropy import Descent, Optimizer
from .lent import copies, descend, lent, norm_weights, of_micro_batch, statistics_of
from .views import crops


@dataclass(frozen=True, slots=True)
class Cotta(Descent):
    """Learns of a teacher that follows it, and forgets by chance.

    Args:
        momentum: Of the teacher.
        sure: Mean largest probability from which the teacher sees images alone.
        views: How many the teacher sees otherwise.
        restored: Share of weights that go back after a micro-batch.
        smallest: Share of an image's area that a view shows at least.
        seed: Of views and of what goes back.
        symmetric: Half of the loss is the cross-entropy of the teacher's answers against the
            student's, as in the public code for ImageNet.
    """

    rate: float = 1e-3
    optimizer: Optimizer = "adam"
    momentum: float = 0.999
    sure: float = 0.92
    views: int = 32
    restored: float = 0.01
    smallest: float = 0.5
    seed: int = 0
    symmetric: bool = False

    method: ClassVar[str] = "cotta"
    later: ClassVar[Mapping[str, Any]] = {"symmetric": False}

    def __post_init__(self) -> None:
        """Refuse what is no share.

        Raises:
            ConfigurationError: Naming the key.
        """
        Descent.__post_init__(self)
        for key in ("momentum", "sure", "restored", "smallest"):
            check_share("cotta", key, getattr(self, key))
        check("cotta", "views", self.views, low=1, whole=True)
        check("cotta", "seed", self.seed, low=0, whole=True)

    def begin(self, scene: Scene) -> "CottaSession":
        """Begin with a cell."""
        return CottaSession(self, scene)


class CottaSession(Session):
    """CoTTA.

    Args:
        method: Its parameters.
        scene: Of the cell.
    """

    def __init__(self, method: Cotta, scene: Scene) -> None:
        self.method, self.scene = method, scene
        tower = visual_tower(scene.model)
        self._own = {
            name: weight.detach()
            for name, weight in scene.model.named_parameters()
            if name.startswith(tower)
        }
        self.student = copies(self._own)
        self.teacher = {name: weight.clone() for name, weight in self._own.items()}
        self._statistics = of_micro_batch if method.statistics == "batch" else None
        self._optimizer = method.optimizer_of(self.student)
        self._turn = 0

    def observe(self, images: UInt8Batch, index: Int64Array) -> LogitBatch:
        """Let the teacher answer, and the student and then the teacher learn."""
        pixels = self.scene.model.preprocess(images)
        if self.method.idle:
            with torch.no_grad():
                return answered(self.scene, pixels)
        if not self.method.steps:
            with torch.no_grad(), lent(self.scene.model, {}, self._statistics):
                return answered(self.scene, pixels)
        for _ in range(self.method.steps):
            with torch.no_grad():
                found = self._taught(images, pixels, index)
            with lent(self.scene.model, self.student, self._statistics):
                loss = self._loss(answered(self.scene, pixels), found)
                descend(loss, self.student, self._optimizer)
            follow(self.teacher, self.student, self.method.momentum)
            self._restore()
            self._turn += 1
        return found

    def _loss(self, own: LogitBatch, found: LogitBatch) -> Tensor:
        loss = cross_entropies(own, found).mean()
        return (loss + cross_entropies(found, own).mean()) / 2 if self.method.symmetric else loss

    def _taught(self, images: UInt8Batch, pixels: PixelBatch, index: Int64Array) -> LogitBatch:
        with lent(self.scene.model, {}, self._statistics):
            sure = answered(self.scene, pixels).softmax(dim=1).amax(dim=1).mean()
        with lent(self.scene.model, self.teacher, self._statistics):
            if sure >= self.method.sure:
                return answered(self.scene, pixels)
            shown = one_view_each(
                self.method.seed, self.scene.stream, images, index, self.method.views,
                self.method.smallest,
            )  # fmt: skip
            return torch.stack([answered(self.scene, self._pixels(view)) for view in shown]).mean(0)

    def _pixels(self, images: UInt8Batch) -> PixelBatch:
        pixels: PixelBatch = self.scene.model.preprocess(images)
        return pixels

    def _restore(self) -> None:
        """Put a share of the weights and biases back to what they were, each by a draw."""
        key = derive_key(self.method.seed, self.scene.stream, "restored online", self._turn)
        with torch.no_grad():
            for number, (name, weight) in enumerate(self.student.items()):
                if name.rpartition(".")[2] not in ("weight", "bias"):
                    continue
                draws = Draws(key, torch.zeros(1, dtype=torch.int64), number)
                drawn = draws.uniform(weight.numel(), weight.device).reshape(weight.shape)
                weight.copy_(torch.where(drawn < self.method.restored, self._own[name], weight))


def one_view_each(
    seed: int, stream: str, images: UInt8Batch, index: Int64Array, views: int, smallest: float
) -> Tensor:
    """Return views of a micro-batch, uint8 (views, n, C, H, W), padding as it is.

    Args:
        seed: Of the draws.
        stream: Of the images.
        images: (n, C, H, W), of which the first ones count.
        index: int64 (m,), keys of those that count.
        views: How many.
        smallest: Share of the area that a view shows at least.
    """
    key = derive_key(seed, stream, "views online", 0)
    padded = np.zeros(len(images), dtype=np.int64)
    padded[: len(index)] = index
    draws = Draws(key, torch.from_numpy(padded)).uniform(5 * views)
    draws = draws.reshape(len(images), views, 5).to(images.device)
    return crops(images, draws, smallest, flip=True).transpose(0, 1)


def cross_entropies(logits: LogitBatch, taught: LogitBatch) -> Tensor:
    """Return the cross-entropy of each answer against a teacher's, (n,)."""
    return -(taught.softmax(dim=1) * logits.log_softmax(dim=1)).sum(dim=1)


def follow(
    teacher: dict[str, Tensor], student: Mapping[str, nn.Parameter], momentum: float
) -> None:
    """Let a teacher follow its student: a share `momentum` of it stays."""
    for name, weight in student.items():
        teacher[name] = momentum * teacher[name] + (1 - momentum) * weight.detach()


@dataclass(frozen=True, slots=True)
class Rotta(Descent):
    """Learns of kept images of all classes, from a teacher that follows slowly.

    Args:
        memory: Images that are kept, and after which it learns.
        momentum: Of the teacher.
        alpha: Share of a batch in the statistics.
        smallest: Share of an image's area that a view shows at least.
        seed: Of views.
    """

    rate: float = 1e-3
    optimizer: Optimizer = "adam"
    memory: int = 64
    momentum: float = 0.999
    alpha: float = 0.05
    smallest: float = 0.5
    seed: int = 0

    method: ClassVar[str] = "rotta"

    def __post_init__(self) -> None:
        """Refuse what is no share.

        Raises:
            ConfigurationError: Naming the key.
        """
        Descent.__post_init__(self)
        for key in ("momentum", "alpha", "smallest"):
            check_share("rotta", key, getattr(self, key))
        if self.statistics != "batch":
            raise ConfigurationError(
                "adapter.online: rotta has slow statistics of its own: leave statistics out."
            )
        check("rotta", "memory", self.memory, low=1, whole=True)
        check("rotta", "seed", self.seed, low=0, whole=True)

    @property
    def idle(self) -> bool:
        """Without a step nothing moves."""
        return self.steps == 0

    def begin(self, scene: Scene) -> "RottaSession":
        """Begin with a cell."""
        return RottaSession(self, scene)


class RottaSession(Session):
    """RoTTA.

    Args:
        method: Its parameters.
        scene: Of the cell.
    """

    def __init__(self, method: Rotta, scene: Scene) -> None:
        self.method, self.scene = method, scene
        own = {name: scene.model.get_parameter(name).detach() for name in norm_weights(scene.model)}
        self.student, self.teacher = copies(own), dict(own)
        self._slow = {"student": statistics_of(scene.model), "teacher": statistics_of(scene.model)}
        self._optimizer = method.optimizer_of(self.student)
        self.kept: Memory | None = None
        self.learned = None if method.idle else 0
        self._count = 0

    def observe(self, images: UInt8Batch, index: Int64Array) -> LogitBatch:
        """Let the teacher answer, keep images, and learn whenever as many as are kept have come."""
        pixels = self.scene.model.preprocess(images)
        if self.method.idle:
            with torch.no_grad():
                return answered(self.scene, pixels)
        with torch.no_grad(), lent(self.scene.model, self.teacher, self._still):
            found = answered(self.scene, pixels)
        if self.kept is None:
            self.kept = Memory(self.method.memory, found.shape[1])
        unsure, labels = entropies(found).tolist(), found.argmax(dim=1).tolist()
        for row in range(images_that_count(len(images))):
            picture = (images[row], int(index[row]))
            self.kept.add(picture, labels[row], unsure[row])
            self._count += 1
            if self._count % self.method.memory == 0:
                self.learned = (self.learned or 0) + 1
                for _ in range(self.method.steps):
                    self._learn(self.kept)
        return found

    def _still(self, name: str, values: Tensor) -> tuple[Tensor, Tensor]:
        return self._slow["teacher"][name]

    def _moved(self, who: str, name: str, values: Tensor) -> tuple[Tensor, Tensor]:
        alpha = self.method.alpha
        pairs = zip(self._slow[who][name], of_micro_batch(name, values), strict=True)
        mean, variance = ((1 - alpha) * own + alpha * new for own, new in pairs)
        self._slow[who][name] = mean.detach(), variance.detach()
        return mean, variance

    def _learn(self, kept: "Memory") -> None:
        """Take a step by the memory, then let the teacher follow."""
        pictures, ages = kept.content()
        images = torch.stack([image for image, _ in pictures])
        index = np.array([key for _, key in pictures], dtype=np.int64)
        (views,) = one_view_each(
            self.method.seed, self.scene.stream, images, index, 1, self.method.smallest
        )
        model = self.scene.model
        weights = torch.tensor([exp(-age) / (1 + exp(-age)) for age in ages], device=images.device)
        with all_images_count():
            with torch.no_grad(), lent(model, self.teacher, partial(self._moved, "teacher")):
                taught = answered(self.scene, model.preprocess(images))
            with lent(model, self.student, partial(self._moved, "student")):
                own = answered(self.scene, model.preprocess(views))
                loss = (cross_entropies(own, taught) * weights).mean()
                descend(loss, self.student, self._optimizer)
        follow(self.teacher, self.student, self.method.momentum)


class Memory:
    """Images of all classes, sure and young ones before others.

    Args:
        capacity: Of all classes together.
        classes: How many there are.
    """

    def __init__(self, capacity: int, classes: int) -> None:
        self.capacity, self._classes = capacity, classes
        self._kept: list[list[_Kept]] = [[] for _ in range(classes)]

    def add(self, picture: tuple[Tensor, int], label: int, unsure: float) -> None:
        """Keep an image, if it is surer or younger than what would have to go for it."""
        new = _Kept(picture, unsure)
        if self._make_room(label, self._score(new)):
            self._kept[label].append(new)
        for one in (one for group in self._kept for one in group):
            one.age += 1

    def _make_room(self, label: int, score: float) -> bool:
        if len(self._kept[label]) >= self.capacity / self._classes:
            return self._drop([label], score)
        if sum(map(len, self._kept)) < self.capacity:
            return True
        largest = max(map(len, self._kept))
        return self._drop([k for k, one in enumerate(self._kept) if len(one) == largest], score)

    def _drop(self, labels: list[int], score: float) -> bool:
        """Drop the last image of the highest score, if that is higher than a new one's."""
        places = [(label, place) for label in labels for place in range(len(self._kept[label]))]
        if not places:
            return True
        scores = [self._score(self._kept[label][place]) for label, place in places]
        worst = max(range(len(places)), key=lambda one: (scores[one], one))
        if scores[worst] <= score:
            return False
        label, place = places[worst]
        del self._kept[label][place]
        return True

    def _score(self, one: "_Kept") -> float:
        return 1 / (1 + exp(-one.age / self.capacity)) + one.unsure / log(self._classes)

    def content(self) -> tuple[list[tuple[Tensor, int]], list[float]]:
        """Return images with their keys, class by class, and their ages in units of the memory."""
        every = [one for group in self._kept for one in group]
        return [one.picture for one in every], [one.age / self.capacity for one in every]


@dataclass(slots=True)
class _Kept:
    picture: tuple[Tensor, int]
    unsure: float
    age: int = 0
