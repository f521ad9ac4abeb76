"""A linear probe on patch features: ridge regression from a place to the parts of it. Torch.

A place of a coarse grid is a large part of an image: the probe says of each of its cells, and not
of the place alone, how much of it each class covers. The fit is in closed form, from sums over
places, so that no features are kept; thresholds are those of the largest mean Dice on validation
images. Pixels outside of an image, as a border around one, count in neither.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from medrobust.base.targets import OUTSIDE
from medrobust.exceptions import ConfigurationError
from medrobust.metrics.overlaps import dice
from medrobust.tasks.map_view import View
from medrobust.types import FeatureBatch, Float64Array, UInt8Array

from .levels import on_one_grid

FINE = 56
"""Cells a side, at least, that the places of a map are divided into together."""

STEPS = 64
"""Thresholds that are tried, from 0 to 1."""

Encoded = Iterable[tuple[tuple[FeatureBatch, Any], UInt8Array]]
"""Features and patch features of some images, and their masks: uint8 (n, H, W), of each pixel its
class or `OUTSIDE`."""


@dataclass(frozen=True)
class RidgeProbe:
    """A fitted probe.

    Attributes:
        blocks: Whose places it reads.
        cells: A side of a place is divided into.
        mean: float64 (D,), of the places that it was fitted on.
        scale: float64 (D,), one over their spread.
        weights: float64 (D + 1, C * cells * cells), of C classes without the background.
        thresholds: float64 (C,), of the share of a cell that a class covers.
    """

    blocks: tuple[int, ...]
    cells: int
    mean: Tensor
    scale: Tensor
    weights: Tensor
    thresholds: Float64Array

    def __call__(self, features: FeatureBatch, patches: Any, prompts: Tensor | None) -> Tensor:
        """Return what each class covers of a cell beyond its threshold; the background has 0."""
        covered = self.covered(patches)
        limits = torch.from_numpy(self.thresholds).to(covered)
        beyond = covered - limits[:, None, None]
        return torch.cat([torch.zeros_like(beyond[:, :1]), beyond], dim=1)

    def covered(self, patches: Any) -> Tensor:
        """Return the share of each cell that each class covers: float32 (n, C, h, w)."""
        states, grid = places(patches)
        weights = self.weights.to(states.device)
        unit = (states.double() - self.mean.to(states.device)) * self.scale.to(states.device)
        found = unit @ weights[:-1] + weights[-1]
        parts = found.reshape(len(found), *grid, -1, self.cells, self.cells)
        joined = parts.permute(0, 3, 1, 4, 2, 5)  # (n, C, rows, cells, columns, cells)
        sides = grid[0] * self.cells, grid[1] * self.cells
        return joined.reshape(len(found), -1, *sides).float()


def places(patches: Any) -> tuple[Tensor, tuple[int, int]]:
    """Return the places of all levels side by side, each level of mean 0 and spread 1 at a place.

    Returns:
        float32 (n, P, D), and the grid (h, w) of the finest level, P = h w.
    """
    maps = []
    for level in patches.values():
        normed = functional.layer_norm(level.states, level.states.shape[-1:])
        maps.append(normed.transpose(1, 2).reshape(len(normed), -1, *level.grid))
    joined = torch.cat(on_one_grid(maps), dim=1)
    return joined.flatten(2).transpose(1, 2), (joined.shape[2], joined.shape[3])


@torch.no_grad()
def fitted(
    blocks: Sequence[int], classes: int, view: View, ridge: float, train: Encoded, val: Encoded
) -> RidgeProbe:
    """Fit a probe to some images, and its thresholds to others.

    Args:
        blocks: Whose places it reads.
        classes: How many there are, the background among them.
        view: How maps lie over images.
        ridge: Penalty of the weights, as a share of the number of places.
        train: Encoded images and their masks.
        val: The same, of validation images.

    Raises:
        ConfigurationError: If every place of every image reaches outside of it.
    """
    total: Tensor | None = None
    for (_, patches), masks in train:
        states, grid = places(patches)
        cells = max(1, -(-FINE // max(grid)))
        covers = covered_cells(masks, classes, view, grid, cells)
        told, seen = covers.to(states.device).flatten(0, 1), states.flatten(0, 1)
        within = ~told.isnan().any(dim=1)
        if not within.all():
            told, seen = told[within], seen[within]
        row = torch.cat([seen.double(), told, torch.ones_like(told[:, :1])], dim=1)
        products = row.T @ row
        total = products if total is None else total + products
    assert total is not None
    if total[-1, -1] == 0:
        raise ConfigurationError(
            "a probe has no place to learn from: the border around the image lies in each place of "
            "each training image. Pass dataset.fit=squash or crop, or choose a model with a finer "
            "grid."
        )
    probe = _solved(total.cpu(), tuple(blocks), cells, states.shape[2], ridge, classes - 1)
    return _with_thresholds(probe, view, val)


def covered_cells(
    masks: UInt8Array, classes: int, view: View, grid: tuple[int, int], cells: int
) -> Tensor:
    """Return the share of each cell of each place that each class covers.

    Args:
        masks: uint8 (n, H, W), the class of each pixel, or `OUTSIDE`.
        classes: How many there are, the background among them.
        view: How the map lies over the image.
        grid: (h, w) of the map.
        cells: A side of a place is divided into.

    Returns:
        float64 (n, h w, (classes - 1) cells cells): shares of what of a cell is inside of the
        image, NaN where most of it is not.
    """
    kinds = torch.arange(1, classes)[None, :, None, None]
    own = (torch.from_numpy(masks)[:, None] == kinds).float()
    sides = grid[0] * cells, grid[1] * cells
    fine = _seen(own, view, sides)
    outside = torch.from_numpy(masks == OUTSIDE)[:, None]
    if outside.any():
        inside = 1 - _seen(outside.float(), view, sides)
        fine = torch.where(inside < 0.5, torch.nan, fine / inside)
    parts = fine.reshape(len(fine), classes - 1, grid[0], cells, grid[1], cells)
    by_place = parts.permute(0, 2, 4, 1, 3, 5)  # (n, rows, columns, C, cells, cells)
    return by_place.reshape(len(fine), grid[0] * grid[1], -1).double()


def _seen(masks: Tensor, view: View, sides: tuple[int, int]) -> Tensor:
    """Return the mean of masks (n, C, H, W) within each cell of what a model sees of them."""
    finer = [side * -(-length // side) for side, length in zip(sides, masks.shape[2:], strict=True)]
    reach = [((2 * torch.arange(side) + 1) / side - 1) / view.zoom for side in finer]
    y, x = torch.meshgrid(*reach, indexing="ij")
    grid = torch.stack([x, y], dim=-1).expand(len(masks), -1, -1, -1)
    seen = functional.grid_sample(masks, grid, align_corners=False)
    return functional.adaptive_avg_pool2d(seen, sides)


def _solved(
    total: Tensor, blocks: tuple[int, ...], cells: int, width: int, ridge: float, classes: int
) -> RidgeProbe:
    """Solve for standardised places, from products of places, covers and ones."""
    count = float(total[-1, -1])
    mean, target = total[:width, -1] / count, total[width:-1, -1] / count
    moment = total[:width, :width] / count - torch.outer(mean, mean)
    cross = total[:width, width:-1] / count - torch.outer(mean, target)
    spread = moment.diagonal().clamp(min=1e-12).sqrt()
    left = moment / torch.outer(spread, spread) + ridge * torch.eye(width, dtype=torch.float64)
    weights = torch.linalg.solve(left, cross / spread[:, None])
    return RidgeProbe(
        blocks,
        cells,
        mean,
        1 / spread,
        torch.cat([weights, target[None]]),
        np.full(classes, 0.5),
    )


def _with_thresholds(probe: RidgeProbe, view: View, val: Encoded) -> RidgeProbe:
    """Return a probe with the threshold of each class that has the largest mean Dice."""
    sums = np.zeros((len(probe.thresholds), STEPS))
    for covered, masks in _spread(probe, view, val):
        levels = np.clip((covered * STEPS).astype(np.int64), 0, STEPS - 1)
        for kind in range(len(sums)):
            sums[kind] += _dice_by_level(levels[:, kind], masks, kind + 1)
    best = sums.argmax(axis=1) / STEPS
    return RidgeProbe(probe.blocks, probe.cells, probe.mean, probe.scale, probe.weights, best)


def _spread(
    probe: RidgeProbe, view: View, encoded: Encoded
) -> Iterator[tuple[NDArray[np.float32], UInt8Array]]:
    for (_, patches), masks in encoded:
        shape = (masks.shape[1], masks.shape[2])
        yield view.spread(probe.covered(patches), shape).cpu().numpy(), masks


def _dice_by_level(levels: NDArray[np.int64], masks: UInt8Array, kind: int) -> Float64Array:
    """Return the sum over images of the Dice of their pixels at or above each level, (STEPS,)."""
    total = np.zeros(STEPS)
    for level, classes in zip(levels, masks, strict=True):
        mask = classes == kind
        everywhere = np.bincount(level[classes != OUTSIDE], minlength=STEPS)[::-1].cumsum()[::-1]
        inside = np.bincount(level[mask], minlength=STEPS)[::-1].cumsum()[::-1]
        total += dice(inside, np.full(STEPS, int(mask.sum())), everywhere)
    return total
