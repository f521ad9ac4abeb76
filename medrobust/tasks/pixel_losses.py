"""What tuning loses on the pixels of an image: focal loss and Dice, of one class or of several.

References:
    Lin et al., Focal loss, arXiv:1708.02002; Milletari et al., V-Net (Dice), arXiv:1606.04797;
    MVFA's code, MediaBrain-SJTU/MVFA-AD (`loss.py`, `train_few.py`), for the published form.
"""

import torch
from torch import Tensor
from torch.nn import functional

GAMMA = 2.0
SMOOTH = 1e-5
"""Added to published probabilities, and taken off published targets."""


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
    return _mean_inside(each, inside)


def dice(logits: Tensor, lesion: Tensor, inside: Tensor | None = None) -> Tensor:
    """Return 1 − (2 Σ p t + 1) / (Σ p + Σ t + 1) over the pixels inside of each image, (n,)."""
    abnormal, target = torch.sigmoid(logits).flatten(1), lesion.flatten(1).to(logits.dtype)
    if inside is not None:
        abnormal = abnormal * inside.flatten(1)
    both = (abnormal * target).sum(dim=1)
    return 1 - (2 * both + 1) / (abnormal.sum(dim=1) + target.sum(dim=1) + 1)


def focal_of_classes(logits: Tensor, classes: Tensor, inside: Tensor | None = None) -> Tensor:
    """Return the mean of −(1 − p)^γ log p over the pixels of each image, γ = 2, (n,).

    Args:
        logits: (n, K, H, W).
        classes: int64 (n, H, W), of each pixel; p is the softmax of it.
        inside: As of `focal`.
    """
    logs = functional.log_softmax(logits, dim=1).gather(1, classes[:, None])[:, 0]
    return _mean_inside(-((1 - logs.exp()) ** GAMMA) * logs, inside)


def dice_of_classes(logits: Tensor, classes: Tensor, inside: Tensor | None = None) -> Tensor:
    """Return the mean of 1 − (2 Σ p t + 1) / (Σ p + Σ t + 1) over the classes but the first, (n,).

    Args:
        logits: (n, K, H, W), the background first.
        classes: int64 (n, H, W), of each pixel.
        inside: As of `focal`.
    """
    weights = 1.0 if inside is None else inside[:, None].to(logits.dtype)
    shares = (logits.softmax(dim=1) * weights)[:, 1:].flatten(2)
    truth = functional.one_hot(classes, logits.shape[1]).permute(0, 3, 1, 2).to(logits.dtype)
    target = (truth * weights)[:, 1:].flatten(2)
    both, sizes = (shares * target).sum(dim=2), shares.sum(dim=2) + target.sum(dim=2)
    return (1 - (2 * both + 1) / (sizes + 1)).mean(dim=1)


def _mean_inside(each: Tensor, inside: Tensor | None) -> Tensor:
    if inside is None:
        return each.flatten(1).mean(dim=1)
    weights = inside.flatten(1).to(each.dtype)
    return (each.flatten(1) * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
