"""What tuning loses on an image and on its pixels, from logits of being abnormal.

Source: MVFA's code, MediaBrain-SJTU/MVFA-AD (`loss.py`, `train_few.py`), for the published form.
"""

import torch
from torch import Tensor
from torch.nn import functional


def detection(logits: Tensor, abnormal: Tensor, *, published: bool = False) -> Tensor:
    """Return the cross-entropy of each image, (n,).

    Args:
        logits: Of each place, (n, P); their mean is the logit of the image.
        abnormal: (n,), 0 or 1.
        published: Take the mean of probabilities for a logit, as MVFA's code does: the loss then
            cannot fall below 0.313 for an abnormal and 0.693 for a normal image.
    """
    image = torch.sigmoid(logits).mean(dim=1) if published else logits.mean(dim=1)
    return functional.binary_cross_entropy_with_logits(
        image, abnormal.to(image.dtype), reduction="none"
    )


def enlarged(
    logits: Tensor, grid: tuple[int, int], size: tuple[int, int], *, corners: bool
) -> Tensor:
    """Enlarge logits of places (n, P) to pixels (n, H, W), bilinear."""
    maps = logits.view(len(logits), 1, *grid)
    return functional.interpolate(maps, size, mode="bilinear", align_corners=corners)[:, 0]
