"""phantomunet: a small segmenter of lesions in phantoms, shipped with the package.

A U-Net, trained by `scripts/train_phantomunet.py` on phantoms with drawn lesions. It runs the task
of segmentation offline; its numbers say nothing about medicine.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from medrobust.base.fingerprints import file_fingerprint
from medrobust.exceptions import WeightsNotFoundError

from .base import LoadReport
from .loading import load_strict, read_checkpoint
from .preprocess import Preprocess
from .segmenter import OwnSegmentation

SIZE = 224
"""Side of the input in pixels."""

WEIGHTS = Path(__file__).parent / "weights" / "phantomunet.safetensors"

WIDTHS = (12, 16, 32, 48, 64)
"""Channels at a half, a quarter, ... of the input's side."""


class Convolution(nn.Sequential):
    """Convolution, batch normalisation, rectifier."""

    def __init__(self, before: int, after: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
        )


class PhantomUNet(nn.Module):
    """From pixels (N, 3, 224, 224) to logits of a lesion (N, 1, 112, 112).

    Made with random weights. Halves the grid five times; on the way back each finer grid is joined
    to what was seen there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = Convolution(3, WIDTHS[0], kernel=5, stride=2)
        self.down = nn.ModuleList(
            nn.Sequential(Convolution(before, after, stride=2), Convolution(after, after))
            for before, after in pairwise(WIDTHS)
        )
        self.up = nn.ModuleList(
            Convolution(deep + fine, fine) for fine, deep in reversed(list(pairwise(WIDTHS)))
        )
        self.head = nn.Conv2d(WIDTHS[0], 1, 3, padding=1)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (N, 1, 112, 112)."""
        seen = [self.stem(pixels)]
        for block in self.down:
            seen.append(block(seen[-1]))
        found = seen.pop()
        for block in self.up:
            finer = seen.pop()
            found = functional.interpolate(found, finer.shape[2:], mode="bilinear")
            found = block(torch.cat([found, finer], dim=1))
        logits: Tensor = self.head(found)
        return logits


@dataclass
class PhantomUnet:
    """The demonstration segmenter, from the weights in the package.

    Attributes:
        name: In tables and in the store.
        micro_batch: Images a forward pass.
    """

    name: str = "phantomunet"
    micro_batch: int = 16

    license = "Apache-2.0"

    def files(self) -> dict[str, Path]:
        """Return the packaged file, name -> path.

        Raises:
            WeightsNotFoundError: If the package is not whole.
        """
        if not WEIGHTS.exists():
            raise WeightsNotFoundError(
                f"model {self.name!r}: {WEIGHTS.name} should be in the package and is not. Install "
                f"medrobust again."
            )
        return {WEIGHTS.name: WEIGHTS}

    def weights_fingerprint(self) -> str:
        """SHA-256 of the weights, without loading them."""
        return file_fingerprint(self.files()[WEIGHTS.name])

    def load(self) -> OwnSegmentation:
        """Build the model and load its weights strictly, on the CPU, in eval mode.

        Raises:
            WeightsNotFoundError: If the package is not whole.
            WeightsMismatchError: If a key is missing, left over or of another shape.
        """
        (file,) = self.files().values()
        with torch.device("meta"):
            module = PhantomUNet()
        loaded = load_strict(module, read_checkpoint(file), file=file.name)
        report = LoadReport(
            source=f"package:{file.name}",
            files={file.name: file_fingerprint(file)},
            used=loaded.used,
            license="Apache-2.0",
        )
        module.to(memory_format=torch.channels_last)
        return OwnSegmentation(module, preprocess(), report).eval()


def preprocess() -> Preprocess:
    """Return how its images are prepared."""
    return Preprocess(SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)
