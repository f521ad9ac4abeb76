"""What a process keeps between cells and jobs: loaded models, open data sets, class features."""

import os
from collections import OrderedDict
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import torch

from medrobust.base.fingerprints import fingerprint
from medrobust.base.lazy_rows import UnreadRows
from medrobust.base.split_facts import SplitFacts
from medrobust.datasets.image_set import DatasetSource, ImageSet
from medrobust.tasks.base import Head, HeadDescription, ModelSide
from medrobust.tasks.lookup import task_of

from .experiment import AskedModel

Thing = TypeVar("Thing")

MODEL_MEMORY = 0.25
"""Share of the machine's memory that loaded models may take between jobs."""

PIXELS = (
    "`head` of a task makes what answers every split of which `heads` says the same, and may not "
    "read the images of one: compute what depends on them in `outputs_of(features, data)` of what "
    "it returns, which gets the split of each cell."
)
"""Why a head is made without them."""

DATA_SETS_KEPT = 16
HEADS_KEPT = 512


class Resources:
    """Loads a model once, opens a data set once, encodes class texts once.

    Data sets are memory-mapped and cost next to nothing; models are kept within a budget.

    Args:
        model_bytes: What kept models may take together; None: a share of the machine's memory. The
            one in use stays whatever it takes.
    """

    def __init__(self, model_bytes: int | None = None) -> None:
        self._model_bytes = model_bytes or int(MODEL_MEMORY * machine_memory())
        self._models: OrderedDict[str, Any] = OrderedDict()
        self._image_sets: OrderedDict[str, ImageSet] = OrderedDict()
        self._heads: OrderedDict[str, Head] = OrderedDict()

    def model(self, asked: AskedModel) -> Any:
        """Return the adapted model, loaded strictly and in eval mode."""
        key = self._model_key(asked)
        if key not in self._models:
            self._make_room(self._model_bytes // 2)  # for one of unknown size
            self._models[key] = _with_speed(asked, _adapted(asked))
            self._make_room(self._model_bytes)
        self._models.move_to_end(key)
        return self._models[key]

    def _make_room(self, budget: int) -> None:
        """Let go of the models that were longest unused, until one is left or all fit."""
        while len(self._models) > 1 and sum(map(size_of, self._models.values())) > budget:
            self._models.popitem(last=False)

    def image_set(self, source: DatasetSource, split: str | None = None) -> ImageSet:
        """Return a split, memory-mapped: the evaluated one by default.

        Raises:
            DatasetNotFoundError: If the set has no such split.
        """
        key = fingerprint([*_where_paths_begin(), repr(source), split or source.split])
        return _kept(self._image_sets, key, partial(self._opened, source, split), DATA_SETS_KEPT)

    def _opened(self, source: DatasetSource, split: str | None) -> ImageSet:
        return replace(source.load(split), other_split=partial(self.image_set, source))

    def close_data(self) -> None:
        """Let go of all data sets: what their files hold by now is looked up at the next opening.

        A job opens each once, and files may change between two jobs of a process.
        """
        self._image_sets.clear()

    def side(self, asked: AskedModel) -> ModelSide:
        """Return what the task may ask about the model."""
        return ModelSide(
            asked.source,
            asked.prompt_sets,
            partial(self.model, asked),
            asked.adapter,
            partial(self.head, asked),
        )

    def encoder_description(self, asked: AskedModel) -> dict[str, Any]:
        """Return what of the encoder decides features: the start of each cell's encoding."""
        speed = asked.speed.description() if asked.speed else {}
        return {
            **({"speed": speed} if speed else {}),
            "weights": asked.source.weights_fingerprint(),
            "adapter": asked.adapter.description(),
            "preprocessing": self.model(asked).preprocess.description(),
            "precision": asked.precision,
            "micro_batch": asked.source.micro_batch,
        }

    def head(self, asked: AskedModel, description: HeadDescription, data: SplitFacts) -> Head:
        """Return what a cell's head describes, its texts encoded once for all splits.

        Raises:
            ConfigurationError: If it is made from the images of this one.
        """
        key = fingerprint([self._model_key(asked), description])
        task, side = task_of(str(description["kind"])), self.side(asked)

        def made() -> Head:
            return task.head(side, description, _without_pixels(data))

        return _kept(self._heads, key, made, HEADS_KEPT)

    def _model_key(self, asked: AskedModel) -> str:
        return fingerprint(
            [
                repr(asked.source),
                asked.source.weights_fingerprint(),
                asked.adapter.description(),
                asked.speed.description() if asked.speed else {},
            ]
        )


def _without_pixels(data: SplitFacts) -> SplitFacts:
    """Return a split whose images cannot be read: one head serves others, too."""
    if not isinstance(data, ImageSet):
        return data
    known = copy(data)  # `replace` would check all of it again
    object.__setattr__(known, "images", UnreadRows(data, PIXELS))
    return known


def _where_paths_begin() -> list[str | None]:
    """Return what decides which file a relative path, or none at all, means."""
    return [os.getcwd(), os.environ.get("MEDROBUST_DATA")]


def machine_memory() -> int:
    """Return the bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def size_of(model: Any) -> int:
    """Return the bytes of a model's parameters and buffers."""
    held = [*model.parameters(), *model.buffers()] if isinstance(model, torch.nn.Module) else []
    return sum(tensor.numel() * tensor.element_size() for tensor in held)


def _adapted(asked: AskedModel) -> Any:
    """Load the model and change it as asked."""
    return asked.adapter.attach(asked.source.load())


def _with_speed(asked: AskedModel, model: Any) -> Any:
    return model.eval() if asked.speed is None else asked.speed.apply(model.eval())


def _kept(
    kept: OrderedDict[str, Thing], key: str, make: Callable[[], Thing], at_most: int
) -> Thing:
    """Return the thing of that key, made if it is not there; the longest unused ones go."""
    if key not in kept:
        while len(kept) >= at_most:
            kept.popitem(last=False)
        kept[key] = make()
    kept.move_to_end(key)
    return kept[key]
