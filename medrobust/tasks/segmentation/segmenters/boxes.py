"""What prompts a segmenter: boxes or points, drawn by what the true masks show. Numpy alone.

Both can be moved away from where they belong, by a share of the box's own sides: how far a model
follows a prompt that is off is an axis of its own, beside that of corrupted images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from medrobust.exceptions import ConfigurationError, unknown_name
from medrobust.types import Float32Array, Float64Array, UInt8Array

Box: TypeAlias = Literal["tight", "jittered", "whole"]
"""Around the mask; the same with each side moved outwards by a draw; the whole image."""

BOXES: tuple[Box, ...] = get_args(Box)

Shape: TypeAlias = Literal["boxes", "points"]
"""What a prompt is."""

SHAPES: tuple[Shape, ...] = get_args(Shape)

JITTER = 20 / 1024
"""Share of the image that a side moves outwards at most: MedSAM's 20 pixels of 1024."""

MoveKind: TypeAlias = Literal["shift", "enlarge", "shrink"]
"""In a drawn direction; all sides outwards; all sides inwards."""

MOVES: tuple[MoveKind, ...] = get_args(MoveKind)

SHARES = (0.05, 0.1, 0.2, 0.3, 0.4)
"""Of the box's width and height, by severity from 1: how far it is moved, or how much longer or
shorter its sides become."""


@dataclass(frozen=True, slots=True)
class PromptMove:
    """How a prompt is moved away from where it belongs.

    Attributes:
        kind: "shift", "enlarge" or "shrink".
        severity: 1 to 5.
        seed: Of directions; each mask has one of its own, the same at all severities.
    """

    kind: MoveKind
    severity: int
    seed: int = 0

    @property
    def share(self) -> float:
        """Of the box's sides."""
        return SHARES[self.severity - 1]


def moves_of(kinds: Sequence[str], severities: Sequence[int], seed: int) -> list[PromptMove]:
    """Return each kind at each severity.

    Raises:
        UnknownNameError: If there is no such kind.
        ConfigurationError: If a severity is none of 1 to 5.
    """
    for kind in kinds:
        if kind not in MOVES:
            raise unknown_name("prompt_corruption of task=segmentation", str(kind), MOVES)
    for level in severities:
        if level not in range(1, len(SHARES) + 1):
            raise ConfigurationError(
                f"task.prompt_severities: {level} is no severity; there are 1 to {len(SHARES)}."
            )
    return [PromptMove(kind, level, seed) for kind in kinds for level in severities]  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class BoxProtocol:
    """How prompts are drawn. They tell where something is: numbers with one say so.

    Attributes:
        kind: "tight", "jittered" or "whole"; points know none of these.
        seed: Of the jitter; each mask has a draw of its own.
        shape: "boxes" or "points".
        move: Away from there; None: not at all.
    """

    kind: Box = "tight"
    seed: int = 0
    shape: Shape = "boxes"
    move: PromptMove | None = None

    def __post_init__(self) -> None:
        """Refuse what does not exist.

        Raises:
            UnknownNameError: Naming what there is.
            ConfigurationError: If a point is to be larger or smaller.
        """
        if self.kind not in BOXES:
            raise unknown_name("box of task=segmentation", self.kind, BOXES)
        if self.shape not in SHAPES:
            raise unknown_name("prompted_by of task=segmentation", self.shape, SHAPES)
        if self.shape == "points" and self.move is not None and self.move.kind != "shift":
            raise ConfigurationError(
                f"task.prompt_corruption={self.move.kind}: a point has no size. Take shift, or "
                f"task.prompted_by=boxes."
            )


@dataclass(frozen=True, slots=True)
class Prompts:
    """What a segmenter is told of some images.

    Attributes:
        places: float32 (n, K - 1, 4), boxes as left, top, right and bottom, or (n, K - 1, 2),
            points from the left and from the top; shares of the image, NaN where an image has none
            of a class.
        kept: float32 (n, K - 1), how much of them is left by their move: the IoU of a box with the
            one that was not moved, or whether a point (1 or 0) lies on its class; NaN likewise.
            None where nothing moves them.
    """

    places: Float32Array
    kept: Float32Array | None


def prompts_of(masks: UInt8Array, classes: int, protocol: BoxProtocol) -> Prompts:
    """Draw the prompts of some images.

    Args:
        masks: uint8 (n, H, W), the class of each pixel.
        classes: How many there are, the background among them.
        protocol: How they are drawn.
    """
    boxes = boxes_of(masks, classes, protocol)
    if protocol.shape == "boxes":
        if protocol.move is None:
            return Prompts(boxes, None)
        moved = np.clip(_moved(boxes, masks, protocol.move), 0, 1).astype(np.float32)
        return Prompts(moved, overlap_of_boxes(boxes, moved))
    points = points_of(masks, classes)
    if protocol.move is None:
        return Prompts(points, None)
    sides = boxes[..., 2:] - boxes[..., :2]
    steps = protocol.move.share * sides * _directions(masks, classes, protocol.move.seed)
    inside = np.clip(points + steps, 0, np.nextafter(np.float32(1), np.float32(0)))
    return Prompts(inside.astype(np.float32), _on_class(inside, masks))


def boxes_of(masks: UInt8Array, classes: int, protocol: BoxProtocol) -> Float32Array:
    """Return a box around all pixels of each class in each image, not moved.

    Args:
        masks: uint8 (n, H, W), the class of each pixel.
        classes: How many there are, the background among them.
        protocol: How boxes are drawn.

    Returns:
        float32 (n, classes - 1, 4): left, top, right and bottom as shares of the image, NaN where
        an image has none of a class. The right and lower sides are the outer edges of pixels.

    Example:
        >>> mask = np.zeros((1, 4, 4), np.uint8)
        >>> mask[0, 1:3, 2:] = 1
        >>> boxes_of(mask, 2, BoxProtocol()).tolist()
        [[[0.5, 0.25, 1.0, 0.75]]]
    """
    boxes = np.full((len(masks), classes - 1, 4), np.nan)
    for n, mask in enumerate(masks):
        for kind in range(1, classes):
            rows, columns = np.nonzero(mask == kind)
            if len(rows):
                own = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
                boxes[n, kind - 1] = own
    boxes /= np.array([masks.shape[2], masks.shape[1]] * 2)
    if protocol.kind == "whole":
        boxes[~np.isnan(boxes).any(axis=2)] = 0, 0, 1, 1
    elif protocol.kind == "jittered":
        boxes += np.stack([_jitter(mask, classes, protocol.seed) for mask in masks])
    inside: Float32Array = np.clip(boxes, 0, 1).astype(np.float32)
    return inside


def points_of(masks: UInt8Array, classes: int) -> Float32Array:
    """Return the centre of the pixel of each class that is farthest from what is not of it.

    The border of the image counts as such; of several pixels the first, row by row.

    Returns:
        float32 (n, classes - 1, 2): from the left and from the top as shares of the image, NaN
        where an image has none of a class.

    Example:
        >>> mask = np.zeros((1, 8, 8), np.uint8)
        >>> mask[0, 1:4, 1:4] = 1
        >>> points_of(mask, 2).tolist()
        [[[0.3125, 0.3125]]]
    """
    from scipy.ndimage import distance_transform_edt

    points = np.full((len(masks), classes - 1, 2), np.nan, np.float32)
    for n, mask in enumerate(masks):
        for kind in range(1, classes):
            own = mask == kind
            if own.any():
                depth = distance_transform_edt(np.pad(own, 1))[1:-1, 1:-1]
                row, column = np.unravel_index(int(depth.argmax()), own.shape)
                points[n, kind - 1] = (column + 0.5) / own.shape[1], (row + 0.5) / own.shape[0]
    return points


def overlap_of_boxes(boxes: Float32Array, others: Float32Array) -> Float32Array:
    """Return the IoU of boxes (..., 4) with others: float32 (...), NaN where there is none.

    Example:
        >>> one = np.array([0, 0, 0.5, 0.5], np.float32)
        >>> float(overlap_of_boxes(one, one + np.float32(0.25)))
        0.1428571492433548
    """
    low = np.maximum(boxes[..., :2], others[..., :2])
    high = np.minimum(boxes[..., 2:], others[..., 2:])
    both = np.maximum(high - low, 0).prod(axis=-1)
    areas = [(one[..., 2:] - one[..., :2]).prod(axis=-1) for one in (boxes, others)]
    with np.errstate(invalid="ignore"):
        found: Float32Array = (both / (areas[0] + areas[1] - both)).astype(np.float32)
    return found


def _moved(boxes: Float32Array, masks: UInt8Array, move: PromptMove) -> NDArray[Any]:
    sides = boxes[..., 2:] - boxes[..., :2]
    if move.kind == "shift":
        steps = move.share * sides * _directions(masks, boxes.shape[1] + 1, move.seed)
        return np.asarray(boxes + np.concatenate([steps, steps], axis=-1))
    half = move.share * sides / 2 * (1 if move.kind == "enlarge" else -1)
    return np.asarray(boxes + np.concatenate([-half, half], axis=-1))


def _directions(masks: UInt8Array, classes: int, seed: int) -> Float64Array:
    """Draw a direction for each class of each image, by the mask alone: (n, classes - 1, 2)."""
    angles = [
        np.random.default_rng([seed, 1, crc32(mask.tobytes())]).uniform(0, 2 * np.pi, classes - 1)
        for mask in masks
    ]
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def _on_class(points: NDArray[Any], masks: UInt8Array) -> Float32Array:
    """Say which points (n, C, 2) lie on a pixel of their class: 1, 0; NaN where there is none."""
    found = np.full(points.shape[:2], np.nan, np.float32)
    for n, kind in zip(*np.nonzero(~np.isnan(points).any(axis=2)), strict=True):
        column, row = (points[n, kind] * masks.shape[:0:-1]).astype(int)
        found[n, kind] = masks[n, row, column] == kind + 1
    return found


def _jitter(mask: UInt8Array, classes: int, seed: int) -> Float64Array:
    """Draw how far the sides of an image's boxes move, by the mask alone."""
    random = np.random.default_rng([seed, crc32(mask.tobytes())])
    moved: Float64Array = random.uniform(0, JITTER, (classes - 1, 4)) * (-1, -1, 1, 1)
    return moved
