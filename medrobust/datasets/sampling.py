"""Choosing samples: every choice orders samples by a keyed hash of their id.

A sample's place in the order depends on the seed and its own id alone: not on the library, the
machine, the order of the table or the samples beside it. Smaller choices lie inside larger ones.
"""

import hashlib

import numpy as np

from medrobust.datasets.image_set import ImageSet
from medrobust.exceptions import ConfigurationError
from medrobust.fingerprints import fingerprint
from medrobust.types import Float64Array, Int64Array


def draw_order(names: list[str], seed: int, purpose: str) -> Float64Array:
    """Give each name its place in [0, 1) in the order of a draw.

    Args:
        names: Ids of samples, or of groups.
        seed: Of the draw.
        purpose: Keeps draws for different ends apart.

    Returns:
        float64 (N,), equal for equal names: the first 52 bits of SHA-256, exact on every machine.
    """
    prefix = f"medrobust {purpose} {seed}\\n".encode()
    heads = [hashlib.sha256(prefix + name.encode()).digest()[:8] for name in names]
    whole = np.frombuffer(b"".join(heads), dtype=">u8") >> np.uint64(12)
    places: Float64Array = whole.astype(np.float64) / 2.0**52
    return places


def strata(image_set: ImageSet) -> Int64Array:
    """Return the stratum of each image: its class, or its whole row of labels for label sets."""
    if image_set.labels.ndim == 1:
        return image_set.labels
    return np.unique(image_set.labels, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def limited(image_set: ImageSet, limit: int | None, seed: int = 0) -> ImageSet:
    """Take a stratified part of at most `limit` images, marked as such in every table.

    Args:
        image_set: Returned as it is when it has no more images than that, or `limit` is None.
        limit: Number of images.
        seed: Of the draw.

    Raises:
        ConfigurationError: If `limit` is smaller than 1.
    """
    if limit is None or limit >= len(image_set):
        return image_set
    if limit < 1:
        raise ConfigurationError(f"dataset.limit={limit} must be at least 1.")
    rows = stratified_rows(image_set, limit, seed)
    return image_set.take(
        rows,
        fingerprint=fingerprint([image_set.fingerprint, "limit", limit, seed]),
        marks=(f"subset of {limit} of {len(image_set)} images",),
    )


def stratified_rows(image_set: ImageSet, count: int, seed: int) -> Int64Array:
    """Draw `count` rows so that strata keep their shares, rows in ascending order.

    Images are taken in the order of (place in the draw within their stratum, as a share of it),
    which gives every stratum its share to within one image.
    """
    order = draw_order(image_set.ids.tolist(), seed, "subset")
    kinds = strata(image_set)
    share = np.empty(len(order))
    for kind in np.unique(kinds):
        rows = np.flatnonzero(kinds == kind)
        place = np.empty(len(rows))
        place[np.argsort(order[rows], kind="stable")] = np.arange(len(rows))
        share[rows] = (place + 0.5) / len(rows)
    first = np.lexsort((order, share))[:count]
    return np.sort(first).astype(np.int64)
