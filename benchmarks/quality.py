"""Measures of image quality in batches against torchmetrics and piq called image by image.

    python -m benchmarks quality [IMAGES]

Grey and colour images of 224 x 224, one thread, processor time, the best of nine rounds. piq is
compared where it is installed. The largest difference of values says whether both measure the same.
"""

import sys
import time
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch
from torch import Tensor
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
    visual_information_fidelity,
)

from medrobust.quality import measure

SIZE, BATCH, ROUNDS = 224, 32, 9
ONE_BY_ONE = dict[str, Callable[[Tensor, Tensor], Tensor]]


def pictures(count: int) -> tuple[Tensor, Tensor]:
    """Draw smooth grey pictures and noisy copies, uint8 (N, 1, H, W)."""
    rng = np.random.default_rng(0)
    clean = np.empty((count, 1, SIZE, SIZE), np.uint8)
    for image in clean:
        smooth = cv2.GaussianBlur(rng.normal(size=(SIZE, SIZE)), (0, 0), 5)
        image[0] = np.interp(smooth, (smooth.min(), smooth.max()), (0, 255))
    noisy = (clean + rng.normal(size=clean.shape) * 12).clip(0, 255)
    return torch.from_numpy(clean), torch.from_numpy(noisy.astype(np.uint8))


def _ssim(image: Tensor, clean: Tensor) -> Tensor:
    """Compute torchmetrics' SSIM without the border that it reflects."""
    found = structural_similarity_index_measure(
        image, clean, data_range=255.0, return_full_image=True
    )
    return found[1][..., 5:-5, 5:-5].mean()


def of_torchmetrics() -> ONE_BY_ONE:
    """Return measures of one image, float (1, 1, H, W) from 0 to 255."""
    return {
        "psnr": lambda a, b: peak_signal_noise_ratio(a, b, data_range=255.0),
        "ssim": _ssim,
        "vif": visual_information_fidelity,
    }


def of_piq() -> ONE_BY_ONE:
    """Return piq's, or none where it is not installed."""
    try:
        import piq
    except ImportError:
        return {}
    return {
        "ssim": lambda a, b: piq.ssim(a / 255, b / 255, downsample=False),
        "ms_ssim": lambda a, b: piq.multi_scale_ssim(a / 255, b / 255),
        "vif": lambda a, b: piq.vif_p(a / 255, b / 255),
        "gmsd": lambda a, b: piq.gmsd(a / 255, b / 255),
        "haarpsi": lambda a, b: piq.haarpsi(a / 255, b / 255),
    }


def main(arguments: Sequence[str]) -> int:
    """Print seconds an image, ratio and largest difference of each measure."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    clean, noisy = pictures(int(arguments[0]) if arguments else 96)
    print(f"{'measure':<10}{'beside':<14}{'ours, ms':>9}{'theirs, ms':>12}{'ratio':>7}  difference")
    for library, functions in (("torchmetrics", of_torchmetrics()), ("piq", of_piq())):
        for name, function in functions.items():
            ours, found = _best(lambda name=name: _batched(name, clean, noisy), len(clean))
            theirs, wanted = _best(lambda f=function: _one_by_one(f, clean, noisy), len(clean))
            apart = float((found - wanted).abs().max())
            print(f"{name:<10}{library:<14}{1000 * ours:>9.3f}{1000 * theirs:>12.3f}"
                  f"{theirs / ours:>7.1f}  {apart:.1e}")  # fmt: skip
    return 0


def _batched(name: str, clean: Tensor, noisy: Tensor) -> Tensor:
    parts = zip(clean.split(BATCH), noisy.split(BATCH), strict=True)
    return torch.cat([measure(b, [name], clean=a)[name] for a, b in parts])


def _one_by_one(
    function: Callable[[Tensor, Tensor], Tensor], clean: Tensor, noisy: Tensor
) -> Tensor:
    pairs = zip(clean, noisy, strict=True)
    return torch.stack([function(b[None].float(), a[None].float()).double() for a, b in pairs])


def _best(run: Callable[[], Tensor], count: int) -> tuple[float, Tensor]:
    """Return processor seconds an image of the best round, and its values."""
    found, seconds = run(), float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        found = run()
        seconds = min(seconds, time.process_time() - began)
    return seconds / count, found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
