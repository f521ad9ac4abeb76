"""What tuning loses on an image and on its pixels, from logits of being abnormal.

References:
    Lin et al., Focal loss, arXiv:1708.02002; Milletari et al., V-Net (Dice), arXiv:1606.04797;
    MVFA's code, MediaBrain-SJTU/MVFA-AD (`loss.py`, `train_few.py`), for the published forms.
"""

import torch
from torch import Tensor
from torch.nn import functional

GAMMA = 2.0
SMOOTH = 1e-5
"""Added to published probabilities, and taken off published targets."""


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


def focal(
    logits: Tensor, lesion: Tensor, inside: Tensor | None = None, *, published: bool = False
) -> Tensor:
    """Return the mean of −(1 − p)^γ log p over the pixels of each image, γ = 2, (n,).

    Args:
        logits: Of being abnormal, (n, H, W).
        lesion: 0 or 1, (n, H, W); p is the probability of what a pixel is.
        inside: Which pixels are of the image, (n, H, W); None: all.
        published: Smooth targets and probabilities by 1e-5, as MVFA's code does.
    """
    if published:
        abnormal = torch.sigmoid(logits)
        target = lesion.to(abnormal.dtype).clamp(SMOOTH, 1 - SMOOTH)
        right = target * abnormal + (1 - target) * (1 - abnormal) + SMOOTH
        each = -((1 - right) ** GAMMA) * right.log()
    else:
        signed = torch.where(lesion > 0, logits, -logits)
        each = -(torch.sigmoid(-signed) ** GAMMA) * functional.logsigmoid(signed)
    if inside is None:
        return each.flatten(1).mean(dim=1)
    weights = inside.flatten(1).to(each.dtype)
    return (each.flatten(1) * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


def dice(logits: Tensor, lesion: Tensor, inside: Tensor | None = None) -> Tensor:
    """Return 1 − (2 Σ p t + 1) / (Σ p + Σ t + 1) over the pixels inside of each image, (n,)."""
    abnormal, target = torch.sigmoid(logits).flatten(1), lesion.flatten(1).to(logits.dtype)
    if inside is not None:
        abnormal = abnormal * inside.flatten(1)
    both = (abnormal * target).sum(dim=1)
    return 1 - (2 * both + 1) / (abnormal.sum(dim=1) + target.sum(dim=1) + 1)
