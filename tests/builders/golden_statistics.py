"""The statistics of `rnd/...` in the golden files, computed from our own outputs."""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from scipy import fft

BANDS = np.linspace(0, 0.71, 13)
"""Edges in cycles a pixel. Recovered: only with 0.71 do spectra with lines agree, within 0.5 %."""

AT_ONCE = 8
"""Draws that are measured at a time: more leave the cache of a processor."""

SPLITS = 10_000
"""Simulated comparisons: a p value is at least 1 / (SPLITS + 1)."""


def measure(outputs: np.ndarray, clean: np.ndarray) -> dict[str, np.ndarray]:
    """Measure every draw.

    Args:
        outputs: uint8 (N, 3, H, W), draws of one corruption of one image.
        clean: uint8 (3, H, W), that image.

    Returns:
        Arrays with the draws first; otherwise named and shaped as in the golden files.
    """
    parts = [_measured(outputs[at : at + AT_ONCE], clean) for at in range(0, len(outputs), AT_ONCE)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _measured(outputs: np.ndarray, clean: np.ndarray) -> dict[str, np.ndarray]:
    residual = outputs - clean.astype(np.float32)  # whole numbers, as are their squares
    counts = np.array([np.bincount(o.ravel(), minlength=256) for o in outputs])
    shares, levels = counts / outputs[0].size, np.arange(256)
    mean = shares @ levels
    return {
        "pooled_mean": _pool(outputs),
        "pooled_msd": _pool(residual * residual),
        "residual_spectrum": spectrum(residual),
        "hist": shares.reshape(-1, 32, 8).sum(2),
        "image_mean": mean,
        "image_std": np.sqrt((shares * (levels - mean[:, None]) ** 2).sum(1)),
        "image_mae": abs(residual).mean((1, 2, 3), dtype=float),
        "changed": (outputs != clean).any(1).mean((1, 2)),
    }


def spectrum(pictures: np.ndarray) -> np.ndarray:
    """Mean |FFT|^2 in 12 bands of the radial frequency: (..., H, W) -> (..., 12).

    Of real pictures, half of the plane is computed: what is not on its rim counts twice.
    """
    *many, height, width = pictures.shape
    weight = _band_weights(height, width)
    found = fft.rfft2(pictures.reshape(-1, height, width))
    power = (found.real**2 + found.imag**2).reshape(-1, len(weight))
    return (power @ weight.astype(power.dtype)).reshape(*many, 12)


@lru_cache(maxsize=4)
def _band_weights(height: int, width: int) -> np.ndarray:
    columns = np.arange(width // 2 + 1)
    twice = np.where((columns == 0) | (2 * columns == width), 1.0, 2.0)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], columns / width)
    band = np.clip(np.digitize(frequency, BANDS) - 1, 0, 11)
    weight = np.zeros((height * len(columns), 12))
    np.put_along_axis(weight, band.reshape(-1, 1), np.tile(twice, height)[:, None], 1)
    return weight / weight.sum(0)


def _pool(values: np.ndarray) -> np.ndarray:
    """Average whole numbers over 16 x 16 cells; float32 holds the sums of cells exactly."""
    draws, channels, height, width = values.shape
    down, across = height // 16, width // 16
    own = np.repeat(np.eye(16, dtype=np.float32), across, axis=0)
    rows = values.astype(np.float32, copy=False).reshape(-1, width) @ own
    cells = rows.reshape(draws, channels, 16, down, 16).sum(3) / np.float64(down * across)
    return cells.transpose(0, 2, 3, 1)


def p_value(
    ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray], draws: int
) -> tuple[float, str]:
    """Give the probability of so large a deviation by chance, and the statistic that has it.

    Of each statistic, the largest deviation of the means over all its numbers counts, in standard
    errors (plus their median, so that numbers which hardly ever vary do not decide), and of the
    statistics the one that is furthest above its own expectation. What chance does is simulated:
    our own draws are split at random, `draws` of them against the rest. As many statistics and
    numbers as there are, there is one p value.

    Args:
        ours: As `measure` gives them; more than `draws` draws.
        theirs: Means over `draws` draws, in the same shapes.
        draws: How many they are.
    """
    count = len(ours["image_mean"])
    order = np.random.default_rng(0).random((SPLITS, count)).argsort(1)[:, :draws]
    chosen = np.zeros((SPLITS, count), np.float32)
    np.put_along_axis(chosen, order, 1, 1)
    found, chance = [], []
    for name, values in ours.items():
        flat = values.reshape(count, -1)
        center = flat.mean(0)
        flat, off = flat - center, theirs[name].reshape(-1) - center
        floor = 1e-5 * np.abs(center).max()  # theirs are float32
        found.append(_largest(off, flat.var(0, ddof=1) * (1 / count + 1 / draws), floor)[0])
        rest = count - draws
        simulated, flat = [], flat.astype(np.float32)
        for part in np.split(chosen, 20):
            total = part @ flat
            squares = ((flat**2).sum(0) - part @ flat**2 - total**2 / rest) / (rest - 1)
            variance = np.maximum(squares, 0) * (1 / rest + 1 / draws)
            simulated.append(_largest(total / draws + total / rest, variance, floor))
        chance.append(np.concatenate(simulated))
    mean, spread = np.mean(chance, 1), np.std(chance, 1) + 0.01
    excess = (np.array(found) - mean) / spread
    expected = ((np.array(chance).T - mean) / spread).max(1)
    worst = int(excess.argmax())
    return (1 + int((expected >= excess[worst]).sum())) / (1 + SPLITS), list(ours)[worst]


def _largest(off: np.ndarray, variance: np.ndarray, floor: float) -> np.ndarray:
    error = np.sqrt(np.atleast_2d(variance))
    return (np.abs(off) / (error + np.median(error, 1, keepdims=True) + floor)).max(1)


def unlike(
    ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray], draws: int
) -> dict[str, tuple[float, float]]:
    """Give what is more than 15 % off, beyond two standard errors: (ratio, error) by name.

    Mean, mean squared difference, share of pixels changed and the 12 bands are compared. The error
    is that of our mean and of one of `draws` draws, the spread being ours.
    """
    values = {name: ours[name] for name in ("image_mean", "changed")}
    values["pooled_msd"] = ours["pooled_msd"].mean((1, 2, 3))
    means = {name: theirs[name].mean() for name in values}
    bands = zip(
        ours["residual_spectrum"].mean(1).T, theirs["residual_spectrum"].mean(0), strict=True
    )
    for number, (power, mean) in enumerate(bands, 1):
        values[f"band {number}"], means[f"band {number}"] = power, mean
    found = {}
    for name, each in values.items():
        error = each.std(ddof=1) / each.mean() * np.sqrt(1 / len(each) + 1 / draws)
        ratio = each.mean() / means[name]
        if abs(np.log(ratio)) > np.log(1.15) + 2 * error:
            found[name] = (ratio, error)
    return found
