"""From patch features to maps: by sentences of both states, or by what normal images look like."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from medrobust.base.wording import part_of
from medrobust.exceptions import NotFiniteError
from medrobust.tasks.map_view import View
from medrobust.types import FeatureBatch

from .levels import Masks, Scale, counted_maps
from .shown import no_pixels, shown_maps

CLASSIFICATION, SEGMENTATION = "classification", "segmentation"
"""Branches of an adapter: places of the one make scores of images, of the other maps."""


class Scorer(Protocol):
    """Gives a map and a score of each image, more where it is less normal."""

    @property
    def blocks(self) -> Sequence[int]:
        """Whose patch features it reads."""
        ...

    def __call__(self, features: FeatureBatch, patches: Any) -> tuple[Tensor, Tensor]:
        """Return maps (n, h, w) and scores (n,), from features (n, D) and patch features."""
        ...


class StateScorer:
    """Scores images and places by their cosines with a normal and an abnormal state.

    The score of an image is `scale * (cos abnormal - cos normal)`, as without maps; where all
    levels have a branch for it, the mean of that over its places and the levels. A place has at
    each level the probability of the abnormal state, a softmax of the two scaled cosines; the map
    is the mean over the levels.

    Args:
        states: float32 (2, D) of unit norm: the normal and the abnormal state.
        scale: Multiplier of the cosine.
        blocks: Whose places are compared.
    """

    def __init__(self, states: Tensor, scale: float, blocks: Sequence[int]) -> None:
        self.blocks = tuple(blocks)
        self._direction = (states[1] - states[0]) * scale

    def __call__(self, features: FeatureBatch, patches: Any) -> tuple[Tensor, Tensor]:
        """Compare features and places."""
        direction = self._direction.to(features.device)
        which = [level.branches.get(CLASSIFICATION) for level in patches.values()]
        score = (features.float() * direction).sum(dim=1)
        if (branches := [one for one in which if one is not None]) and len(branches) == len(which):
            each = [functional.normalize(one, dim=-1) @ direction for one in branches]
            score = torch.stack([logits.mean(dim=1) for logits in each]).mean(dim=0)
        maps = []
        for level in patches.values():
            places = level.branches.get(SEGMENTATION)
            unit = functional.normalize(level.joint() if places is None else places, dim=-1)
            maps.append(_on_grid(torch.sigmoid(unit @ direction), level.grid))
        return joined(maps), score


class DistanceScorer:
    """Scores places by their distance from those of normal images, images by the farthest place.

    Args:
        fitted: Block -> what normal places look like: `distances(states)` gives (n, P); those of
            several blocks are added.
    """

    def __init__(self, fitted: Mapping[int, Any]) -> None:
        self.blocks = tuple(fitted)
        self._fitted = dict(fitted)

    def __call__(self, features: FeatureBatch, patches: Any) -> tuple[Tensor, Tensor]:
        """Measure distances."""
        maps = []
        for block, level in patches.items():
            self._fitted[block] = fitted = self._fitted[block].to(level.states.device)
            maps.append(_on_grid(fitted.distances(level.states), level.grid))
        summed = joined(maps) * len(maps)
        return summed, summed.amax(dim=(1, 2))


class ScaledScorer:
    """Brings maps and scores of another scorer to the quantiles of normal validation images."""

    def __init__(self, scorer: Scorer, of_maps: Scale, of_scores: Scale) -> None:
        self.blocks = scorer.blocks
        self._scorer = scorer
        self._of_maps, self._of_scores = of_maps, of_scores

    def __call__(self, features: FeatureBatch, patches: Any) -> tuple[Tensor, Tensor]:
        """Score and scale."""
        maps, scores = self._scorer(features, patches)
        return self._of_maps(maps), self._of_scores(scores)


class MeanScorer:
    """Averages scaled scorers, map by map and score by score."""

    def __init__(self, scorers: Sequence[Scorer]) -> None:
        self.blocks = tuple(sorted({block for one in scorers for block in one.blocks}))
        self._scorers = scorers

    def __call__(self, features: FeatureBatch, patches: Any) -> tuple[Tensor, Tensor]:
        """Score by each and average."""
        found = [one(features, patches.of(one.blocks)) for one in self._scorers]
        return joined([maps for maps, _ in found]), torch.stack([s for _, s in found]).mean(dim=0)


@torch.no_grad()
def scaled(
    scorer: Scorer, normal: Iterable[tuple[FeatureBatch, Any]], *, scores: bool = True
) -> ScaledScorer:
    """Scale a scorer by normal validation images.

    Args:
        scorer: What is scaled.
        normal: Features and patch features of the images.
        scores: Whether scores of images are scaled, too, and not only maps.

    Raises:
        NotFiniteError: If a map or a score of theirs is not finite.
    """
    found = [scorer(features, patches.of(scorer.blocks)) for features, patches in normal]
    maps, whole = (torch.cat([part[side].flatten().cpu() for part in found]) for side in (0, 1))
    if not bool(torch.isfinite(maps).all() & torch.isfinite(whole).all()):
        raise NotFiniteError(
            "maps or scores of normal validation images are not finite: the weights, the precision "
            "or the preprocessing do not suit these images."
        )
    return ScaledScorer(scorer, Scale.of(maps), Scale.of(whole) if scores else Scale(0.0, 1.0))


class MapHead:
    """Keeps the map and the score of each image, and counts the pixels of the maps in the end.

    Args:
        scorer: Scaled.
        view: How maps lie over their images.
        keep_all: Whether all maps are kept in the cell, and not a few to be shown.
    """

    def __init__(self, scorer: Scorer, view: View, *, keep_all: bool = False) -> None:
        self._scorer, self._view, self._keep_all = scorer, view, keep_all

    @property
    def blocks(self) -> Sequence[int]:
        """Whose patch features it reads."""
        return self._scorer.blocks

    @torch.no_grad()
    def reduce(self, features: FeatureBatch, patches: Any) -> Mapping[str, Tensor]:
        """Return "map" (n, h, w) and "score" (n,)."""
        maps, scores = self._scorer(features, patches)
        return {"map": maps.float(), "score": scores.float()}

    def outputs(self, features: Mapping[str, Tensor]) -> Mapping[str, NDArray[Any]]:
        """Return the arrays of a cell whose images have no masks."""
        return self.judged(features, None)

    def judged(self, rows: Mapping[str, Tensor], masks: Masks | None) -> Mapping[str, NDArray[Any]]:
        """Return the arrays of a cell.

        Args:
            rows: What `reduce` kept of all images, on the CPU.
            masks: Of the images as the corruption has moved them; None: there are none.

        Raises:
            NotFiniteError: If a map or a score is not finite.
        """
        maps, score = rows["map"], rows["score"]
        finite = torch.isfinite(maps).flatten(1).all(dim=1) & torch.isfinite(score)
        if not bool(finite.all()):
            broken = part_of(int((~finite).sum()), len(finite), "image")
            raise NotFiniteError(
                f"maps or scores of {broken} are not finite: the weights, the precision or the "
                f"preprocessing do not suit these images. The cell was not stored."
            )
        counted = no_pixels(len(score)) if masks is None else counted_maps(maps, self._view, masks)
        shown = shown_maps(maps.numpy(), self._view.zoom, keep_all=self._keep_all)
        return {"score": np.ascontiguousarray(score.numpy()), **counted, **shown}


def joined(maps: Sequence[Tensor]) -> Tensor:
    """Average maps (n, h, w), each brought to the finest grid of them.

    Example:
        >>> joined([torch.ones(1, 2, 2), torch.zeros(1, 4, 4)]).unique().tolist()
        [0.5]
    """
    finest = max((one.shape[-2:] for one in maps), key=lambda shape: shape[0] * shape[1])
    same = [
        one
        if one.shape[-2:] == finest
        else functional.interpolate(one[:, None], finest, mode="bilinear", align_corners=False)[
            :, 0
        ]
        for one in maps
    ]
    return torch.stack(same).mean(dim=0)


def _on_grid(values: Tensor, grid: tuple[int, int]) -> Tensor:
    return values.reshape(len(values), *grid)
