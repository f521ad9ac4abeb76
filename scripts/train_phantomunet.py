"""Train the demonstration segmenter on phantoms and write its weights into the package.

    python scripts/train_phantomunet.py     # about 10 minutes on one core

Recipe: 480 images of site a, half of them with lesions, turned over from left to right by half;
cross-entropy plus Dice of the batch, AdamW, one cycle of the learning rate. No augmentation by
noise, blur or contrast: robustness is meant to be lost. Everything drawn comes from --seed.
"""

import argparse
import time

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from medrobust.datasets.phantoms.lesions import PhantomLesions
from medrobust.models.phantomunet import WEIGHTS, PhantomUNet, preprocess

PER_STATE = 240
"""Images of each state."""

BATCH = 16


def arrays(split: str, per_state: int) -> tuple[Tensor, Tensor]:
    """Return images uint8 (N, 3, H, W) and lesions float32 (N, 1, 112, 112)."""
    found = PhantomLesions(split=split, per_class=per_state).load()
    images = torch.from_numpy(np.array(found.images)).permute(0, 3, 1, 2)
    masks = torch.from_numpy(np.array(found.target.masks)).float()[:, None]
    return images, functional.avg_pool2d(masks, 2)


def loss_of(logits: Tensor, lesions: Tensor) -> Tensor:
    """Cross-entropy, and 1 - Dice over the batch."""
    found = torch.sigmoid(logits)
    dice = (2 * (found * lesions).sum() + 1) / (found.sum() + lesions.sum() + 1)
    return functional.binary_cross_entropy_with_logits(logits, lesions) + 1 - dice


@torch.no_grad()
def mean_dice(model: PhantomUNet, images: Tensor, lesions: Tensor) -> tuple[float, float]:
    """Return the mean Dice of images with a lesion, and the share of the others that stay empty."""
    model.eval()
    own = [model(preprocess()(part)) > 0 for part in images.split(BATCH)]
    found, truth = torch.cat(own).flatten(1), (lesions > 0.5).flatten(1)
    with_lesion = truth.any(dim=1)
    dice = 2 * (found & truth).sum(dim=1) / (found.sum(dim=1) + truth.sum(dim=1)).clamp(min=1)
    empty = ~found[~with_lesion].any(dim=1)
    return float(dice[with_lesion].mean()), float(empty.float().mean())


def main() -> None:
    """Train, say how well, and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default=str(WEIGHTS))
    asked = parser.parse_args()
    torch.manual_seed(asked.seed)
    images, lesions = arrays("train", PER_STATE)
    held = arrays("val", 42)
    model = PhantomUNet().to(memory_format=torch.channels_last)
    steps = -(-len(images) // BATCH) * asked.epochs
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=steps)
    start = time.perf_counter()
    for epoch in range(asked.epochs):
        model.train()
        for rows in torch.randperm(len(images)).split(BATCH):
            turn = torch.rand(len(rows)) < 0.5
            shown, truth = images[rows], lesions[rows]
            shown = torch.where(turn[:, None, None, None], shown.flip(3), shown)
            truth = torch.where(turn[:, None, None, None], truth.flip(3), truth)
            loss = loss_of(model(preprocess()(shown)), truth)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        dice, empty = mean_dice(model, *held)
        taken = time.perf_counter() - start
        print(f"epoch {epoch}: loss {float(loss):.3f}, val Dice {dice:.3f}, empty {empty:.2f}, {taken:.0f} s", flush=True)  # fmt: skip  # noqa: E501
        save_file({name: value.contiguous() for name, value in model.state_dict().items()}, asked.out)  # fmt: skip  # noqa: E501


if __name__ == "__main__":
    main()
