"""A Gaussian for each place, of normal images, and Mahalanobis distances to it.

References:
    Defard et al., PaDiM, arXiv:2011.08785.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medrobust.exceptions import ConfigurationError
from medrobust.tasks.chosen import Kept, check_batch, generator, spread
from medrobust.types import Int64Array


@dataclass(frozen=True)
class PatchGaussians:
    """One Gaussian a place.

    Attributes:
        dims: int64 (d,), the features that count, ascending.
        mean: float32 (P, d).
        whiten: float32 (P, d, d): inverse of the lower Cholesky factor of the covariance.
    """

    dims: Tensor
    mean: Tensor
    whiten: Tensor

    def to(self, device: torch.device | str) -> "PatchGaussians":
        """Return the same on a device."""
        return PatchGaussians(*(one.to(device) for one in (self.dims, self.mean, self.whiten)))

    def distances(self, states: Tensor) -> Tensor:
        """Return Mahalanobis distances, float32 (n, P), of states (n, P, D)."""
        if states.shape[1] != len(self.mean):
            raise ConfigurationError(
                f"the Gaussians are those of {len(self.mean)} places, and an image has "
                f"{states.shape[1]} here: fit and ask at one size."
            )
        centred = states[..., self.dims].to(self.mean.dtype) - self.mean
        white: Tensor = torch.einsum("pij,npj->npi", self.whiten, centred)
        return white.square().sum(dim=-1).sqrt()


class GaussianBuilder:
    """Collects normal images and fits the Gaussians of their places.

    As `BankBuilder`, it does not depend on order and batches. It keeps images x P x d numbers of
    each block until it is finished.

    Args:
        index: int64 (N,), of all normal images, each once.
        dims: Features of each place, drawn once a block; all where there are no more.
        shrinkage: Added to the diagonal of each covariance.
        seed: Of all draws.
        images: At most so many images, spread by a draw.
    """

    def __init__(
        self,
        index: Int64Array,
        *,
        dims: int = 100,
        shrinkage: float = 0.01,
        seed: int = 0,
        images: int = 1000,
    ) -> None:
        if dims < 1 or shrinkage <= 0 or images < 1:
            raise ConfigurationError(
                f"Gaussians need dims={dims} of at least 1, shrinkage={shrinkage} above 0 and "
                f"images={images} of at least 1."
            )
        self._dims, self._shrinkage, self._seed = dims, shrinkage, seed
        self._all = set(np.asarray(index).tolist())
        self._kept = Kept(spread(index, images, seed))
        self._drawn: dict[int, Tensor] = {}

    def add(self, index: Sequence[int], states: Mapping[int, Tensor]) -> None:
        """Take normal images: block -> (n, P, D).

        Raises:
            ConfigurationError: If an image was not announced, or added before.
        """
        for block, of_block in states.items():
            check_batch(index, of_block)
            dims = self._drawn.setdefault(block, self._draw(block, of_block.shape[2]))
            for one, places in zip(index, of_block, strict=True):
                if int(one) not in self._all:
                    raise ConfigurationError(f"the image {int(one)} is none of the normal ones.")
                if self._kept.wants(int(one)):
                    self._kept.put(block, int(one), places[:, dims.to(places.device)])

    def _draw(self, block: int, width: int) -> Tensor:
        drawn = generator(self._seed, -1 - block).permutation(width)[: self._dims]
        return torch.from_numpy(np.sort(drawn))

    def finish(self) -> dict[int, PatchGaussians]:
        """Return the Gaussians of each block.

        Raises:
            ConfigurationError: If an image is missing.
        """
        return {
            block: self._fitted(self._drawn[block], torch.stack(images))
            for block, images in self._kept.ordered().items()
        }

    def _fitted(self, dims: Tensor, states: Tensor) -> PatchGaussians:
        """Fit place by place, in float64: (N, P, d)."""
        means, factors = [], []
        eye = torch.eye(len(dims), dtype=torch.float64)
        for place in states.transpose(0, 1):
            values = place.double()
            centred = values - values.mean(dim=0)
            covariance = centred.T @ centred / max(1, len(values) - 1) + self._shrinkage * eye
            factor = torch.linalg.cholesky(covariance)
            factors.append(torch.linalg.solve_triangular(factor, eye, upper=False).float())
            means.append(values.mean(dim=0).float())
        return PatchGaussians(dims, torch.stack(means), torch.stack(factors))
