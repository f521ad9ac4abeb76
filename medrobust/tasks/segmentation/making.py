"""Heads that segment, made from the model, sentences and training images. Imports torch."""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from medrobust.base.fingerprints import fingerprint
from medrobust.base.once import say_once
from medrobust.base.wording import counted
from medrobust.exceptions import ConfigurationError
from medrobust.models.encoding import encode_patches_of
from medrobust.models.zero_shot import class_features
from medrobust.tasks.base import HeadDescription, ModelSide
from medrobust.tasks.chosen import spread
from medrobust.tasks.map_view import View, view_of
from medrobust.tasks.other_images import batches, on_device, other_split
from medrobust.tasks.text_side import text_model
from medrobust.tasks.tuning_head import TuningHead
from medrobust.types import UInt8Array

from .classes import check_masks, has_outside
from .examples import shown_examples
from .head import SegmentationHead, Segments
from .judging import Judge
from .segmenters.boxes import BoxProtocol, PromptMove
from .segmenters.probe import fitted
from .segmenters.words import WordSegmenter
from .tuned import STEEP, PixelObjective

log = logging.getLogger(__name__)

KIND = "segmentation"
"""Of the task, for messages."""

THRESHOLDS_BY = 128
"""Validation images, at most, that the thresholds of a probe are chosen by."""

FEW_BLOCKS = 4
"""Blocks of a tower that are all read."""


def segmentation_head(
    side: ModelSide, description: HeadDescription, data: Any, purpose: str
) -> SegmentationHead:
    """Make the head that a description stands for.

    Args:
        side: The model.
        description: Of the head.
        data: Any split of the set, which opens the others.
        purpose: What the model cannot do without a text side, for messages.
    """
    segments, view = _segments(side, description, data, purpose)
    said = description["surfaces"]
    judge = Judge(len(description["classes"]), said["of"], said["unit"], said["tolerance"])
    prompts, keep_all = _protocol(description), bool(description.get("kept"))
    return SegmentationHead(segments, view, judge, prompts=prompts, keep_all=keep_all)


def tuning_head(
    side: ModelSide, description: HeadDescription, data: Any, purpose: str
) -> TuningHead:
    """Make what an adapter is tuned by: the segmenter of the model as published, with its losses.

    Args:
        side: The model.
        description: Of the head.
        data: Images that are tuned on, of a set that opens its splits.
        purpose: As of `segmentation_head`.
    """
    segments, view = _segments(side, description, data, purpose)
    scale = STEEP if description["segmenter"] == "probe" else 1.0
    classes, prompts = len(description["classes"]), _protocol(description)
    return TuningHead(PixelObjective(segments, view, classes, scale, prompts))


def _segments(
    side: ModelSide, description: HeadDescription, data: Any, purpose: str
) -> tuple[Segments, View]:
    view = view_of(side.model().preprocess, data.images.shape[1])
    return _MAKERS[description["segmenter"]](side, description, data, view, purpose), view


def _protocol(description: HeadDescription) -> BoxProtocol | None:
    """Return how prompts are drawn, by what a head says of them; None where there are none."""
    move = description.get("moved")
    moved = None if move is None else PromptMove(move["kind"], move["severity"], move["seed"])
    if "point" in description:
        return BoxProtocol(shape="points", move=moved)
    box = description.get("box")
    return None if box is None else BoxProtocol(box["kind"], box["seed"], move=moved)


def of_probe(
    data: Any,
    side: ModelSide,
    blocks: Sequence[int] | None,
    shots: int | None,
    seed: int,
    ridge: float,
) -> dict[str, Any]:
    """Say what a probe is fitted to.

    Raises:
        ConfigurationError: If the model has no such blocks, or the set no train or val split.
        InvalidDataError: If no training mask shows anything, as `check_masks` raises it.
    """
    count = int(side.model().patch_blocks)
    few = range(1, count + 1) if count <= FEW_BLOCKS else _later_blocks(count)
    chosen = list(blocks or few)
    wrong = [block for block in chosen if not 1 <= block <= count]
    if wrong:
        raise ConfigurationError(
            f"task.blocks names block {wrong[0]}; model {side.source.name!r} has blocks 1 to "
            f"{count}."
        )
    images = {
        "train": _drawn(data, "train", shots, seed),
        "thresholds": _drawn(data, "val", THRESHOLDS_BY, 0),
    }
    fewer = len(images["train"]) < len(other_split(data, "train", KIND))
    check_masks(images["train"], "task.probe_shots" if fewer else "")
    named = {name: fingerprint([one.fingerprint, one.ids.tolist()]) for name, one in images.items()}
    said = {"shots": shots, "seed": seed, "ridge": ridge, **named}
    if any(has_outside(one) for one in images.values()):
        said["outside"] = "left out"
    return {"blocks": chosen, "probe": said}


def _later_blocks(count: int) -> list[int]:
    return sorted({-(-count * part // 4) for part in (2, 3, 4)})


def _drawn(data: Any, name: str, at_most: int | None, seed: int) -> Any:
    """Return some images of a split, the fewer among the more; None: all of them."""
    split = other_split(data, name, KIND)
    if at_most is None or at_most >= len(split):
        if at_most is not None and name == "train" and at_most > len(split):
            images = counted(len(split), "image")
            say_once(
                log,
                logging.INFO,
                f"task.probe_shots={at_most}: the train split of data set {data.name!r} has "
                f"{images}; all are used",
            )
        return split
    rows = np.flatnonzero(np.isin(split.index, spread(split.index, at_most, seed)))
    return split.take(rows, fingerprint=split.fingerprint)


def _probe(
    side: ModelSide, description: HeadDescription, data: Any, view: View, purpose: str
) -> Segments:
    said, blocks = description["probe"], description["blocks"]
    train = _drawn(data, "train", said["shots"], said["seed"])
    val = _drawn(data, "val", THRESHOLDS_BY, 0)
    encoded = (_encoded(side, blocks, images) for images in (train, val))
    return fitted(blocks, len(description["classes"]), view, said["ridge"], *encoded)


def _encoded(
    side: ModelSide, blocks: Sequence[int], images: Any
) -> Iterator[tuple[tuple[Any, Any], UInt8Array]]:
    """Yield features and patch features of images, with their masks, `OUTSIDE` in borders."""
    model, start = on_device(side), 0
    read = batches(images, model.device)
    for found in encode_patches_of(model, read, blocks, side.source.micro_batch):
        own = np.array(images.target.pixels(slice(start, start + len(found[0]))))
        start += len(own)
        yield found, own


def _words(
    side: ModelSide, description: HeadDescription, data: Any, view: View, purpose: str
) -> Segments:
    model = text_model(side, purpose)
    model.to("cpu", torch.float32)
    classes = class_features(model, description["texts"])
    return WordSegmenter(classes, float(model.logit_scale), description["blocks"])


def _own(
    side: ModelSide, description: HeadDescription, data: Any, view: View, purpose: str
) -> Segments:
    decoder: Segments
    if "examples" in description:
        decoder = side.model().example_decoder(shown_examples(side, description["examples"], data))
    else:
        decoder = side.model().mask_decoder(description.get("texts", ()))
    return decoder


_MAKERS: dict[str, Callable[[ModelSide, HeadDescription, Any, View, str], Segments]] = {
    "probe": _probe,
    "words": _words,
    "own": _own,
}
