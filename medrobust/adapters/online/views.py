"""Views of an image, ZERO and MTA: many crops of one image answer it together, and nothing learns.

A view is a crop of `smallest` to all of the image's area, of a ratio of 3/4 to 4/3, brought to the
size of the whole by bilinear interpolation and flipped half of the time; the first of `views` is
the image itself. Draws are keyed by `seed`, data set, split and image, so that no image has other
views for another batch, order or corruption. Where torchvision draws a crop anew that does not fit,
it is cut to the image here. z are unit features of the views, p their probabilities, c class texts.

    zero   the `share` of the views of lowest entropy vote for their prediction each, as with a
           temperature of zero; of classes with equally many votes the one that the next surest view
           predicts has one more. The logit is ln(votes + 1e-3): where nobody votes, nothing is told
           apart.
    mta    a mode m of the views, from the image itself on, and inlierness y of each view, in turn:
               y = softmax((d + affinity * (p p^T) y) / spread),
               m = sum y d z, to unit norm,   d = exp(-|z - m|^2 / 2 b^2),
           each at most five times, all at most five times, b^2 half the mean squared distance to
           the `share` of the nearest views. Logits are those of m.

Sources: Farina et al., arXiv:2405.18330 (`FarinaMatteo/zero`); Zanella and Ben Ayed,
arXiv:2405.02266 (`MaxZanella/MTA`).
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from medrobust.keys import Draws, derive_key
from medrobust.models.encoding import all_images_count
from medrobust.types import FeatureBatch, Int64Array, LogitBatch, UInt8Batch

from .adapting import Adapting, Scene, Session, answered, entropies
from .base import Begins, Needs, check
from .batch_norm import check_share

TURNS = 5
"""Of mta, within and without."""


@dataclass(frozen=True, slots=True)
class FromViews(Adapting):
    """Shows the model several views of each image, which stands alone.

    Args:
        order: Not read: no image changes the answer to another one.
        views: Of each image, the image itself among them; 1: the model itself, to the bit.
        smallest: Share of the image's area that a view shows at least.
        flip: Whether half of the views are flipped from left to right.
        seed: Of the views.
    """

    views: int = 64
    smallest: float = 0.08
    flip: bool = True
    seed: int = 0

    protocols: ClassVar[tuple[Begins, ...]] = ("episodic",)

    def __post_init__(self) -> None:
        """Refuse what is no number of views.

        Raises:
            ConfigurationError: Naming the key.
        """
        check(self.method, "views", self.views, low=1, whole=True)
        check(self.method, "seed", self.seed, low=0, whole=True)
        check_share(self.method, "smallest", self.smallest)

    @property
    def ordered(self) -> bool:
        """Never: each image stands alone."""
        return False

    @property
    def idle(self) -> bool:
        """With one view, the image itself."""
        return self.views == 1

    def shown(self, images: UInt8Batch, index: Int64Array, stream: str) -> Tensor:
        """Return views of images, uint8 (n, views, C, H, W)."""
        made = [images[:, None]]
        if self.views > 1:
            key = derive_key(self.seed, stream, "views online", 0)
            draws = Draws(key, torch.from_numpy(index)).uniform(5 * (self.views - 1))
            draws = draws.reshape(len(images), self.views - 1, 5).to(images.device)
            made.append(crops(images, draws, self.smallest, flip=self.flip))
        return torch.cat(made, dim=1)


def crops(images: UInt8Batch, draws: Tensor, smallest: float, *, flip: bool) -> Tensor:
    """Cut crops out of images and bring them to their size.

    Args:
        images: (n, C, H, W).
        draws: float64 uniforms (n, views, 5): area, ratio, two places, flip.
        smallest: Share of the area at least.
        flip: Whether they may be flipped.

    Returns:
        uint8 (n, views, C, H, W).
    """
    count, views, _ = draws.shape
    area, ratio, across, down, side = draws.unbind(dim=2)
    area = smallest + (1 - smallest) * area
    ratio = (3 / 4) ** (1 - 2 * ratio)  # log-uniform between 3/4 and 4/3
    width = (area * ratio).sqrt().clamp(max=1)
    height = (area / ratio).sqrt().clamp(max=1)
    signs = torch.where(side < 0.5, -1.0, 1.0) if flip else torch.ones_like(side)
    nothing = torch.zeros_like(width)
    rows = [
        torch.stack([signs * width, nothing, (2 * across - 1) * (1 - width)], dim=2),
        torch.stack([nothing, height, (2 * down - 1) * (1 - height)], dim=2),
    ]
    maps = torch.stack(rows, dim=2).flatten(0, 1).float()
    whole = images.float().repeat_interleave(views, dim=0)
    grid = functional.affine_grid(maps, list(whole.shape), align_corners=False)
    cut = functional.grid_sample(
        whole, grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return cut.round().clamp(0, 255).to(torch.uint8).reshape(count, views, *images.shape[1:])


class ViewSession(Session):
    """Answers each image by its views.

    Args:
        method: Its parameters.
        scene: Of the cell.
    """

    def __init__(self, method: FromViews, scene: Scene) -> None:
        self.method, self.scene = method, scene

    def observe(self, images: UInt8Batch, index: Int64Array) -> LogitBatch:
        """Answer each image alone."""
        if self.method.idle:
            with torch.no_grad():
                return answered(self.scene, self.scene.model.preprocess(images))
        views = self.method.shown(images[: len(index)], index, self.scene.stream)
        with all_images_count():
            return torch.stack([self.answer(one) for one in views])

    def features(self, views: UInt8Batch) -> FeatureBatch:
        """Encode the views of one image, (views, D), without gradients."""
        with torch.no_grad():
            features: FeatureBatch = self.scene.model.encode_image(
                self.scene.model.preprocess(views)
            )
        return features

    @abstractmethod
    def answer(self, views: UInt8Batch) -> Tensor:
        """Answer one image, (K,), by its views (views, C, H, W), the first of them itself."""


@dataclass(frozen=True, slots=True)
class Zero(FromViews):
    """Lets sure views vote.

    Args:
        share: Of the views, the surest, at least one.
    """

    share: float = 0.3

    method: ClassVar[str] = "zero"

    def __post_init__(self) -> None:
        """Refuse what is no share.

        Raises:
            ConfigurationError: Naming the key.
        """
        FromViews.__post_init__(self)
        check_share("zero", "share", self.share)

    def begin(self, scene: Scene) -> "ZeroSession":
        """Begin with a cell."""
        return ZeroSession(self, scene)


class ZeroSession(ViewSession):
    """Votes."""

    method: Zero

    def answer(self, views: UInt8Batch) -> Tensor:
        """Count the votes of sure views."""
        logits = self.scene.head.logits(self.features(views))
        return votes(logits, max(1, int(len(logits) * self.method.share)))


def votes(logits: LogitBatch, kept: int) -> Tensor:
    """Return ln(votes + 1e-3) of the `kept` surest views, (K,), ties broken by the next ones.

    Example:
        >>> logits = torch.tensor([[9.0, 0, 0], [0, 9.0, 0], [0, 3.0, 0], [0, 0, 1.0]])
        >>> votes(logits, 2).exp().round(decimals=2).tolist()
        [1.0, 2.0, 0.0]
    """
    by_surety = logits[entropies(logits).argsort(stable=True)]
    predicted = by_surety.argmax(dim=1)
    counts = torch.bincount(predicted[:kept], minlength=logits.shape[1]).to(logits.dtype)
    tied = (counts == counts.max()).nonzero()[:, 0]
    if len(tied) > 1:
        next_ones = predicted[kept:]
        among = next_ones[torch.isin(next_ones, tied)]
        counts[among[0] if len(among) else tied[0]] += 1
    return (counts + 1e-3).log()


@dataclass(frozen=True, slots=True)
class MTA(FromViews):
    """Finds the mode of the views.

    Args:
        share: Of the views, the nearest, which the bandwidth is read off.
        spread: Of inlierness (lambda_y).
        affinity: Weight of views that answer alike (lambda_q).
    """

    share: float = 0.3
    spread: float = 0.2
    affinity: float = 4.0

    method: ClassVar[str] = "mta"
    needs: ClassVar[Needs] = "images and sentences"

    def __post_init__(self) -> None:
        """Refuse what is no share.

        Raises:
            ConfigurationError: Naming the key.
        """
        FromViews.__post_init__(self)
        check_share("mta", "share", self.share)
        check("mta", "spread", self.spread, low=1e-6)
        check("mta", "affinity", self.affinity, low=0)

    def begin(self, scene: Scene) -> "MtaSession":
        """Begin with a cell."""
        return MtaSession(self, scene)


class MtaSession(ViewSession):
    """Modes."""

    method: MTA

    def answer(self, views: UInt8Batch) -> Tensor:
        """Answer the mode of the views."""
        features = self.features(views)
        alike = self.scene.head.logits(features).double().softmax(dim=1)
        found = mode(features.double(), alike @ alike.T, self.method).float()
        answer: Tensor = self.scene.head.logits(found[None])[0]
        return answer


def mode(features: FeatureBatch, alike: Tensor, method: MTA) -> Tensor:
    """Return the mode of views, of unit norm (D,).

    Args:
        features: Unit features (V, D), the first those of the image itself.
        alike: How far views answer alike, (V, V).
        method: Parameters.
    """
    nearest = max(1, int(method.share * (len(features) - 1)))
    apart = torch.cdist(features, features).sort(dim=1).values[:, 1 : nearest + 1]
    width = (0.5 * (apart**2).mean(dim=1)).clamp(min=1e-12)  # views may be equal
    inlier = features.new_full((len(features),), 1 / len(features))
    found = features[0]
    for _ in range(TURNS):
        dense = _dense(features, found, width)
        for _ in range(TURNS):
            before = inlier
            inlier = ((dense + method.affinity * (alike @ inlier)) / method.spread).softmax(dim=0)
            if (before - inlier).norm() < 1e-6:
                break
        for _ in range(TURNS):
            last = found
            weights = _dense(features, found, width) * inlier
            found = functional.normalize((weights[:, None] * features).sum(dim=0), dim=0)
            if (last - found).norm() < 1e-6:
                break
    return found


def _dense(features: FeatureBatch, place: Tensor, width: Tensor) -> Tensor:
    """Return how near each view is to a place, (V,)."""
    return (-((features - place) ** 2).sum(dim=1) / (2 * width)).exp()
