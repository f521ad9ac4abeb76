"""How the maps of a model lie over the images that it sees a part of, or more than."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class View:
    """How a map lies over its image.

    Attributes:
        zoom: Side of the image in units of the side of the map: above 1 where the model crops
            (beyond the crop the nearest value holds), below 1 where it pads.
    """

    zoom: float = 1.0

    def spread(self, maps: Tensor, shape: tuple[int, int]) -> Tensor:
        """Bring maps to the pixels of their images, bilinearly, on their own device.

        Args:
            maps: (n, h, w), or (n, K, h, w) for several an image.
            shape: (H, W) of the images.

        Returns:
            float32 (n, H, W), or (n, K, H, W).
        """
        places = [self.zoom * ((2 * torch.arange(side) + 1) / side - 1) for side in shape]
        y, x = torch.meshgrid(*places, indexing="ij")
        grid = torch.stack([x, y], dim=-1).expand(len(maps), -1, -1, -1).to(maps.device)
        several = maps if maps.ndim == 4 else maps[:, None]
        spread = functional.grid_sample(
            several.float(), grid, padding_mode="border", align_corners=False
        )
        return spread if maps.ndim == 4 else spread[:, 0]


def view_of(preprocess: Any, side: int) -> View:
    """Say how maps of a model lie over square images.

    Args:
        preprocess: The model's own, as `medrobust.models.preprocess` has it.
        side: Of the stored images, in pixels.
    """
    size = preprocess.size
    if size is None or preprocess.fit in ("squash", "longest"):
        return View(1.0)
    if preprocess.fit == "pad":
        return View(side / max(int(size), side))
    return View(int(preprocess.resize or size) / int(size))
