"""Aliases of tensors, shapes included: `medrobust.types` has them, and imports this when asked."""

from typing import TypeAlias

from jaxtyping import Float, Int64, UInt8
from torch import Tensor

UInt8Batch: TypeAlias = UInt8[Tensor, "n c h w"]
"""Images as stored: uint8, C = 1 or 3."""

PixelBatch: TypeAlias = Float[Tensor, "n 3 h w"]
"""Images as a model's visual encoder takes them, after its own preprocessing."""

FeatureBatch: TypeAlias = Float[Tensor, "n d"]
"""Unit-norm embeddings."""

LogitBatch: TypeAlias = Float[Tensor, "n k"]

IndexBatch: TypeAlias = Int64[Tensor, " n"]
"""Row of each image in its source split (63-bit hash of the id for own data)."""
