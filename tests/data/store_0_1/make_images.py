"""Write scans.npz: 12 grey images of blocks, with three labels each, for the store beside."""

from pathlib import Path

import numpy as np


def main() -> None:
    """Draw the images and labels from one seed."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (12, 8, 8), dtype=np.uint8)
    images = blocks.repeat(8, axis=1).repeat(8, axis=2)
    labels = (rng.random((12, 3)) < 0.5).astype(np.int64)
    labels[:2] = (0, 1, 0), (1, 0, 1)  # every label is there, and absent
    np.savez_compressed(Path(__file__).with_name("scans.npz"), images=images, labels=labels)


if __name__ == "__main__":
    main()
