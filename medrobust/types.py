"""Array aliases and the protocols that the rooms agree on."""

from typing import Literal, TypeAlias, get_args

import numpy as np
from jaxtyping import Float, Int64, UInt8
from numpy.typing import NDArray
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

UInt8Array: TypeAlias = NDArray[np.uint8]
Int64Array: TypeAlias = NDArray[np.int64]
Float32Array: TypeAlias = NDArray[np.float32]
Float64Array: TypeAlias = NDArray[np.float64]

TaskKind: TypeAlias = Literal[
    "multi-class", "binary-class", "multi-label, binary-class", "ordinal-regression"
]
"""The four task strings of MedMNIST."""

TASK_KINDS: tuple[TaskKind, ...] = get_args(TaskKind)

Origin: TypeAlias = Literal["phantom", "public", "own"]
"""Where images come from: decides on labels (phantom) and on example pictures (never own)."""
