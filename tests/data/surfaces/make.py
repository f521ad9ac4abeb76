"""Write masks.npz and expected.json: `python tests/data/surfaces/make.py`.

Needs `surface-distance` 0.1 and `monai` 1.6 (neither is installed for the tests), each of which
computes what it defines: borders of surfels, and borders of pixels.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
SPACINGS = ((1.0, 1.0), (0.5, 2.0), (3.0, 0.7))
TOLERANCES = (1.0, 2.0)


def masks() -> np.ndarray:
    """Return bool (P, 2, 40, 48): pairs of shapes, some at the edge, some of a pixel, some torn."""
    y, x = np.mgrid[:40, :48]
    random = np.random.default_rng(26)
    disc = (y - 18) ** 2 + (x - 20) ** 2 < 11**2
    oval = ((y - 22) / 9) ** 2 + ((x - 26) / 14) ** 2 < 1
    square, moved = np.zeros((2, 40, 48), bool)
    square[5:15, 5:15] = moved[5:15, 7:17] = True
    corner, dot, far = np.zeros((3, 40, 48), bool)
    corner[:7, :9] = True
    dot[3, 40] = True
    far[36:, 44:] = True
    ring = disc & ((y - 18) ** 2 + (x - 20) ** 2 > 5**2)
    torn, other = random.random((2, 40, 48)) < 0.2
    everything = np.ones((40, 48), bool)
    pairs = [
        (square, moved),
        (disc, oval),
        (ring, disc),
        (corner, far),
        (dot, oval),
        (torn, other),
        (disc, torn),
        (everything, oval),
        (disc, disc),
    ]
    return np.array(pairs)


def of_surfels(truth: np.ndarray, predicted: np.ndarray, spacing: Any) -> dict[str, Any]:
    """Ask surface-distance."""
    import surface_distance as oracle

    found = oracle.compute_surface_distances(truth, predicted, spacing)
    return {
        "means": list(oracle.compute_average_surface_distance(found)),
        "hd95": oracle.compute_robust_hausdorff(found, 95),
        "hd100": oracle.compute_robust_hausdorff(found, 100),
        "nsd": [oracle.compute_surface_dice_at_tolerance(found, t) for t in TOLERANCES],
    }


def of_pixels(truth: np.ndarray, predicted: np.ndarray, spacing: Any) -> dict[str, Any]:
    """Ask MONAI."""
    import torch
    from monai.metrics import (
        compute_average_surface_distance,
        compute_hausdorff_distance,
        compute_surface_dice,
    )

    given = [torch.from_numpy(one)[None, None].float() for one in (predicted, truth)]
    shared = {"include_background": True, "spacing": spacing}
    nsd = [compute_surface_dice(*given, class_thresholds=[t], **shared).item() for t in TOLERANCES]
    return {
        "hd95": compute_hausdorff_distance(*given, percentile=95, **shared).item(),
        "hd100": compute_hausdorff_distance(*given, **shared).item(),
        "assd": compute_average_surface_distance(*given, symmetric=True, **shared).item(),
        "nsd": nsd,
    }


def main() -> None:
    """Write both files."""
    pairs = masks()
    cases = [
        {
            "pair": number,
            "spacing": spacing,
            "surfels": of_surfels(*pair, spacing),
            "pixels": of_pixels(*pair, spacing),
        }
        for number, pair in enumerate(pairs)
        for spacing in SPACINGS
    ]
    np.savez_compressed(HERE / "masks.npz", masks=np.packbits(pairs, axis=-1))
    text = json.dumps({"tolerances": TOLERANCES, "cases": cases}, indent=1)
    (HERE / "expected.json").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
