"""The statistics of `rnd/...` in the golden files, computed from our own outputs."""

from collections.abc import Mapping

import numpy as np

BANDS = np.linspace(0, 0.71, 13)


def measure(outputs: np.ndarray, clean: np.ndarray) -> dict[str, np.ndarray]:
    """Measure every draw.

    Args:
        outputs: uint8 (N, 3, H, W), draws of one corruption of one image.
        clean: uint8 (3, H, W), that image.

    Returns:
        Arrays with the draws first; otherwise named and shaped as in the golden files.
    """
    out, residual = outputs.astype(float), outputs.astype(float) - clean
    height, width = clean.shape[1:]
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    band = np.clip(np.digitize(frequency, BANDS) - 1, 0, 11).ravel()
    power = abs(np.fft.fft2(residual)) ** 2
    power = power.reshape(-1, height * width)
    spectrum = np.array([np.bincount(band, p, 12) / np.bincount(band, minlength=12) for p in power])
    return {
        "pooled_mean": _pool(out),
        "pooled_msd": _pool(residual**2),
        "residual_spectrum": spectrum.reshape(-1, 3, 12),
        "hist": np.array([np.bincount(o.ravel() // 8, minlength=32) / o.size for o in outputs]),
        "image_mean": out.mean((1, 2, 3)),
        "image_std": out.std((1, 2, 3)),
        "image_mae": abs(residual).mean((1, 2, 3)),
        "changed": (residual != 0).any(1).mean((1, 2)),
    }


def _pool(values: np.ndarray) -> np.ndarray:
    draws, channels, height, width = values.shape
    cells = values.reshape(draws, channels, 16, height // 16, 16, width // 16).mean((3, 5))
    return cells.transpose(0, 2, 3, 1)


def deviations(
    ours: Mapping[str, np.ndarray], golden: Mapping[str, np.ndarray], prefix: str
) -> dict[str, np.ndarray]:
    """Give, for each statistic, (our mean - theirs) in standard errors.

    Golden means of many draws come without their spread: that of our own draws is taken.
    """
    draws_of_theirs = len(golden[prefix + "image_mean"])
    found = {}
    for name, values in ours.items():
        theirs = golden[prefix + name]
        if name.startswith(("image", "changed")):
            theirs = theirs.mean(0)
        variance = values.var(0, ddof=1) * (1 / len(values) + 1 / draws_of_theirs)
        resolution = 1e-3 * abs(theirs) / np.sqrt(draws_of_theirs) + 1e-6
        if name in ("pooled_msd", "hist"):  # a rare event of theirs that ours never met
            resolution = np.where(variance == 0, abs(theirs) + 1e-6, resolution)
        found[name] = (values.mean(0) - theirs) / np.sqrt(variance + resolution**2)
    return found
