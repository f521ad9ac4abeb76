"""Array aliases and the protocols that the rooms agree on.

Aliases of tensors are imported when they are first asked for: what needs none needs no torch.
"""

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from medrobust.base.tensor_types import (
        FeatureBatch,
        IndexBatch,
        LogitBatch,
        PixelBatch,
        UInt8Batch,
    )

UInt8Array: TypeAlias = NDArray[np.uint8]
Int64Array: TypeAlias = NDArray[np.int64]
Float32Array: TypeAlias = NDArray[np.float32]
Float64Array: TypeAlias = NDArray[np.float64]

LabelKind: TypeAlias = Literal[
    "multi-class", "binary-class", "multi-label, binary-class", "ordinal-regression"
]
"""The four words of MedMNIST for kinds of labels, which it calls tasks."""

LABEL_KINDS: tuple[LabelKind, ...] = get_args(LabelKind)

Origin: TypeAlias = Literal["phantom", "public", "own"]
"""Where images come from: decides on labels (phantom) and on example pictures (never own)."""

_TENSORS = ("FeatureBatch", "IndexBatch", "LogitBatch", "PixelBatch", "UInt8Batch")

__all__ = [
    "LABEL_KINDS",
    "FeatureBatch",
    "Float32Array",
    "Float64Array",
    "IndexBatch",
    "Int64Array",
    "LabelKind",
    "LogitBatch",
    "Origin",
    "PixelBatch",
    "UInt8Array",
    "UInt8Batch",
]


def __getattr__(name: str) -> Any:
    """Import an alias of tensors when it is first used: torch takes seconds."""
    if name not in _TENSORS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from medrobust.base import tensor_types

    return getattr(tensor_types, name)
