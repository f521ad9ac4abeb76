"""How far places are from those of normal images: memory banks, Gaussians, windows."""

from typing import Literal, TypeAlias, get_args

Distance: TypeAlias = Literal["cosine", "euclidean"]
"""What a memory bank measures."""

DISTANCES: tuple[Distance, ...] = get_args(Distance)
