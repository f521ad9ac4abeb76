"""What a split is judged by: labels, masks, texts or boxes, one of them for each set."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from medrobust.types import Float32Array, Float64Array, Int64Array, UInt8Array

from .lazy_rows import picked
from .wording import counted


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """A class an image, or zeros and ones for several labels an image.

    Attributes:
        values: int64 (N,), or (N, L).
    """

    values: Int64Array
    kind: ClassVar = "labels"

    def take(self, rows: Int64Array) -> Self:
        """Return the labels of these images, in this order."""
        return type(self)(self.values[rows])

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Name what a store keeps."""
        return {"labels": self.values}

    def sizes(self) -> Mapping[str, int]:
        """Say how many there are of what is no image."""
        return {}

    def complaint(self, images: int, classes: int) -> str | None:
        """Say why they are not the target of so many images and classes, or return None."""
        values = self.values
        if values.dtype != np.int64:
            return (
                f"labels are {values.dtype}, and must be whole numbers (int64): convert them by "
                f"labels.astype(numpy.int64) if each is one"
            )
        if values.ndim == 2:
            if values.shape[1] != classes:
                return f"labels {values.shape} for {classes} label names"
            return None if bool(np.isin(values, (0, 1)).all()) else "labels must be 0 or 1"
        if values.ndim != 1:
            return f"labels must be (N,), got {values.shape}"
        if not len(values):
            return None
        low, high = int(values.min()), int(values.max())
        if low >= 0 and high < classes:
            return None
        return f"labels span {low}..{high}, but there are {classes} classes (0..{classes - 1})"


LESION, OUTSIDE = 1, 255
"""What a pixel is: of a lesion, or of no image, as the border around one."""


@dataclass(frozen=True, slots=True, eq=False)
class MaskedLabels(Labels):
    """A class an image, and which of its pixels show what is not normal. A store keeps the classes.

    Attributes:
        masks: uint8 (N, H, W), not 0 in lesions; usually a memory map.
        digest: Of the masks, in order: decides which of them a stored cell was judged by.
        spacing: float64 (N, 2), millimetres from one row of the stored image to the next, and from
            one column; None where nobody knows.
        ignored: Value of pixels that are of no image, as its border; None: there are none.
    """

    masks: UInt8Array
    digest: str
    spacing: Float64Array | None = None
    ignored: int | None = None
    kind: ClassVar = "labels"

    def take(self, rows: Int64Array) -> Self:
        """Return labels and masks of these images, in this order, masks read when asked for."""
        spacing = None if self.spacing is None else self.spacing[rows]
        masks = picked(self.masks, rows)
        return type(self)(self.values[rows], masks, self.digest, spacing, self.ignored)

    def pixels(self, rows: slice | Int64Array) -> UInt8Array:
        """Say what the pixels of some images are: uint8 (n, H, W), `LESION`, `OUTSIDE`, or 0.

        Example:
            >>> masks = np.array([[[0, 1, 7, 9]]], np.uint8)
            >>> target = MaskedLabels(np.zeros(1, np.int64), masks, "", ignored=9)
            >>> target.pixels(slice(1)).tolist()
            [[[0, 1, 1, 255]]]
        """
        stored = np.asarray(self.masks[rows])
        found: UInt8Array = (stored != 0).astype(np.uint8)
        if self.ignored is not None:
            found[stored == self.ignored] = OUTSIDE
        return found

    def classes(self, rows: slice | Int64Array) -> UInt8Array:
        """Return the class of each pixel of some images, (n, H, W): 1 in lesions, else 0."""
        found: UInt8Array = (self.pixels(rows) == LESION).astype(np.uint8)
        return found

    def complaint(self, images: int, classes: int) -> str | None:
        """Say why they are not the target of so many images and classes, or return None."""
        masks = Masks(self.masks, spacing=self.spacing).complaint(images, classes)
        return masks or Labels(self.values).complaint(images, classes)


@dataclass(frozen=True, slots=True, eq=False)
class Masks:
    """A class a pixel. A store keeps none of them, as it keeps no images.

    Attributes:
        values: uint8 (N, H, W), the class of each pixel of the stored image; usually a memory map.
        digest: Of the pixels, in order: decides which masks a stored cell was judged by.
        spacing: float64 (N, 2), millimetres from one row of the stored image to the next, and from
            one column; None where nobody knows.
        ignored: Value of pixels that are of no image, as its border; None: there are none.
    """

    values: UInt8Array
    digest: str = ""
    spacing: Float64Array | None = None
    ignored: int | None = None
    kind: ClassVar = "masks"

    def take(self, rows: Int64Array) -> Self:
        """Return the masks of these images, in this order, read when they are asked for."""
        spacing = None if self.spacing is None else self.spacing[rows]
        return type(self)(picked(self.values, rows), self.digest, spacing, self.ignored)

    def pixels(self, rows: slice | Int64Array) -> UInt8Array:
        """Return the class of each pixel of some images, or `OUTSIDE`: uint8 (n, H, W).

        Example:
            >>> masks = Masks(np.array([[[0, 1, 9]]], np.uint8), ignored=9)
            >>> masks.pixels(slice(1)).tolist(), masks.classes(slice(1)).tolist()
            ([[[0, 1, 255]]], [[[0, 1, 0]]])
        """
        stored = np.asarray(self.values[rows])
        if self.ignored is None:
            return stored
        return np.where(stored == self.ignored, np.uint8(OUTSIDE), stored)

    def classes(self, rows: slice | Int64Array) -> UInt8Array:
        """Return the class of each pixel of some images, (n, H, W); what is outside has 0."""
        stored = np.asarray(self.values[rows])
        if self.ignored is None:
            return stored
        return np.where(stored == self.ignored, np.uint8(0), stored)

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Name what a store keeps: nothing."""
        return {}

    def sizes(self) -> Mapping[str, int]:
        """Say how many rows and columns a mask has."""
        return {"row": self.values.shape[1], "column": self.values.shape[2]}

    def complaint(self, images: int, classes: int) -> str | None:
        """Say why they are not the target of so many images and classes, or return None."""
        if self.values.dtype != np.uint8 or self.values.ndim != 3:
            return f"masks must be uint8 (N, H, W), got {self.values.dtype} {self.values.shape}"
        if len(self.values) != images:
            masks = counted(len(self.values), "mask")
            return f"{counted(images, 'image')} and {masks}: they must be as many"
        if self.spacing is None:
            return None
        if self.spacing.shape != (images, 2) or not (self.spacing > 0).all():
            return "spacing must be millimetres from row to row and column to column of each image"
        return None


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """What people wrote of images: one or several an image, or one shared by several.

    Attributes:
        values: (T,) strings; of reports objects, since numpy's own strings take for each as much as
            for the longest.
        pairs: int64 (P, 2), each an image and a text that belong together, by their rows.
        kept: (T,) strings that a store keeps in their place, as keyed hashes of own reports; None
            where it keeps the texts themselves.
        labels: int64 (N,), the label set of each image by its number, where texts are matched by
            those; a store keeps none of it.
        label_sets: The labels in each of these sets, by its number; None without.
        merged: Whether images share a text because theirs read the same, and not by their study; a
            store does not keep it.
    """

    values: NDArray[Any]
    pairs: Int64Array
    kept: NDArray[np.str_] | None = None
    labels: Int64Array | None = None
    label_sets: tuple[tuple[str, ...], ...] | None = None
    merged: bool = False
    kind: ClassVar = "texts"

    def take(self, rows: Int64Array) -> Self:
        """Return the texts that belong to these images, each once, in the order they had."""
        place = {row: turn for turn, row in enumerate(rows.tolist())}
        kept = [(place[i], text) for i, text in self.pairs.tolist() if i in place]
        texts = sorted({text for _, text in kept})
        turn = {text: number for number, text in enumerate(texts)}
        pairs = [(image, turn[text]) for image, text in sorted(kept)]
        return type(self)(
            self.values[texts],
            np.array(pairs, np.int64).reshape(-1, 2),
            None if self.kept is None else self.kept[texts],
            None if self.labels is None else self.labels[rows],
            self.label_sets,
            self.merged,
        )

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Name what a store keeps."""
        texts = self.values.astype(np.str_) if self.kept is None else self.kept
        return {"texts": texts, "text_pairs": self.pairs}

    def groups(
        self, of_images: Int64Array | None, same: Int64Array | None = None
    ) -> Int64Array | None:
        """Number the units of texts: int64 (T,) from 0; None where each stands alone.

        Texts that share a patient, or patients that share a text, are one group.

        Args:
            of_images: int64 (N,) from 0, the patient of each image; None where each stands alone.
            same: int64 (T,) from 0, equal for texts that count as one, which are one group, too.
        """
        count = len(self.values)
        joins = [] if same is None else [np.column_stack([np.arange(count), same])]
        if of_images is not None:
            images, texts = self.pairs.T
            first = 0 if same is None else int(same.max()) + 1
            joins.append(np.column_stack([texts, first + of_images[images]]))
        if not joins:
            return None
        from scipy.sparse import coo_array  # half a second that a missing file need not wait
        from scipy.sparse.csgraph import connected_components

        rows, shared = np.concatenate(joins).T
        size = count + int(shared.max()) + 1
        edges = coo_array((np.ones(len(rows)), (rows, count + shared)), shape=(size, size))
        joined = connected_components(edges, directed=False)[1]
        numbered = np.unique(joined[:count], return_inverse=True)[1].astype(np.int64)
        return numbered if int(numbered.max()) + 1 < count else None

    def sizes(self) -> Mapping[str, int]:
        """Say how many texts there are."""
        return {"text": len(self.values)}

    def complaint(self, images: int, classes: int) -> str | None:
        """Say why they are not the target of so many images and classes, or return None."""
        pairs = self.pairs
        strings = self.values.dtype.kind == "U" or (
            self.values.dtype == object and all(isinstance(one, str) for one in self.values)
        )
        if self.values.ndim != 1 or not strings:
            return f"texts must be strings (T,), got {self.values.dtype} {self.values.shape}"
        if pairs.dtype != np.int64 or pairs.ndim != 2 or pairs.shape[1] != 2:
            return f"pairs of images and texts must be int64 (P, 2), got {pairs.dtype}"
        inside = (pairs >= 0).all() and (pairs < (images, len(self.values))).all()
        if not inside:
            texts = counted(len(self.values), "text")
            return f"a pair names none of {counted(images, 'image')} and {texts}"
        if len(np.unique(pairs[:, 0])) < images:
            return "an image has no text"
        if self.labels is not None and self.labels.shape != (images,):
            return f"{counted(images, 'image')} and {counted(len(self.labels), 'label set')}"
        return None


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """Where things lie in an image, none, one or several an image.

    Attributes:
        values: float32 (B, 4): left, top, right and bottom in pixels of the stored image.
        images: int64 (B,), the row of each box's image.
        classes: int64 (B,), what lies in it.
    """

    values: Float32Array
    images: Int64Array
    classes: Int64Array
    kind: ClassVar = "boxes"

    def take(self, rows: Int64Array) -> Self:
        """Return the boxes of these images, in the order of the images."""
        found = [np.flatnonzero(self.images == row) for row in rows]
        kept = np.concatenate([np.zeros(0, np.int64), *found]).astype(np.int64)
        images = np.repeat(np.arange(len(rows), dtype=np.int64), [len(part) for part in found])
        return type(self)(self.values[kept], images, self.classes[kept])

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Name what a store keeps."""
        return {"boxes": self.values, "box_images": self.images, "box_classes": self.classes}

    def sizes(self) -> Mapping[str, int]:
        """Say how many boxes there are."""
        return {"box": len(self.values)}

    def complaint(self, images: int, classes: int) -> str | None:
        """Say why they are not the target of so many images and classes, or return None."""
        if self.values.dtype != np.float32 or self.values.shape != (len(self.values), 4):
            return f"boxes must be float32 (B, 4), got {self.values.dtype} {self.values.shape}"
        for name, given, below in (
            ("images", self.images, images),
            ("classes", self.classes, classes),
        ):
            if given.dtype != np.int64 or given.shape != (len(self.values),):
                return f"{name} of boxes must be int64 (B,), got {given.dtype} {given.shape}"
            if len(given) and not (given.min() >= 0 and given.max() < below):
                return f"{name} of boxes must be 0..{below - 1}"
        left, top, right, bottom = self.values.T
        if not ((left <= right) & (top <= bottom)).all():
            return "a box ends before it begins: give left, top, right, bottom"
        return None


@dataclass(frozen=True, slots=True, eq=False)
class WindowLabels(Labels):
    """A class for each window of images: around a lesion, or at a place of a grid.

    Attributes:
        windows: int64 (N, 4): left, top, right and bottom in pixels of the stored image.
        images: int64 (N,), the image of each window, by its number in the whole split.
        lesions: What lies in these images, by the same numbers.
        grid: Whether they are places of a grid, whose first class is background.
    """

    windows: Int64Array
    images: Int64Array
    lesions: Boxes
    grid: bool = False
    kind: ClassVar = "labels"

    def take(self, rows: Int64Array) -> Self:
        """Return some windows, in this order; lesions of their images stay."""
        chosen = self.values[rows], self.windows[rows], self.images[rows]
        return type(self)(*chosen, self.lesions, self.grid)

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Name what a store keeps."""
        own = {"labels": self.values, "windows": self.windows, "window_images": self.images}
        told = {"window_grid": np.array([True])} if self.grid else {}
        return {**own, **told, **self.lesions.arrays()}

    def complaint(self, images: int, classes: int) -> str | None:
        """Say why they are not the target of so many windows and classes, or return None."""
        count, windows = len(self.values), self.windows
        if windows.dtype != np.int64 or windows.shape != (count, 4):
            return f"windows must be int64 (N, 4), got {windows.dtype} {windows.shape}"
        if self.images.dtype != np.int64 or self.images.shape != (count,):
            return f"images of windows must be int64 (N,), got {self.images.dtype}"
        left, top, right, bottom = windows.T
        if not ((left < right) & (top < bottom)).all():
            return "a window is empty: give left, top, right, bottom"
        known = 1 + max(
            (int(part.max()) for part in (self.images, self.lesions.images) if len(part)),
            default=-1,
        )
        return self.lesions.complaint(known, classes) or Labels(self.values).complaint(
            images, classes
        )


Target: TypeAlias = Labels | MaskedLabels | WindowLabels | Masks | Texts | Boxes


def read_target(kind: str, arrays: Mapping[str, NDArray[Any]]) -> Target | None:
    """Build a target from what a store keeps of it; None where it keeps nothing.

    Raises:
        KeyError: If the kind is none, or an array is missing.
    """
    if kind == "labels":
        return Labels(arrays["labels"]) if "windows" not in arrays else _read_windows(arrays)
    if kind == "texts":
        return Texts(arrays["texts"], arrays["text_pairs"])
    if kind == "boxes":
        return Boxes(arrays["boxes"], arrays["box_images"], arrays["box_classes"])
    if kind == "masks":
        return None
    raise KeyError(f"{kind!r} is no kind of target")


def _read_windows(arrays: Mapping[str, NDArray[Any]]) -> WindowLabels:
    lesions = Boxes(arrays["boxes"], arrays["box_images"], arrays["box_classes"])
    labels = arrays["labels"]
    # Runs before it was said: of a grid, but never of boxes, the first class is of no lesion.
    told = (labels == 0).any() and not (lesions.classes == 0).any()
    grid = bool(np.all(arrays.get("window_grid", told)))
    return WindowLabels(labels, arrays["windows"], arrays["window_images"], lesions, grid)
