"""What a test needs of one family of models, and the preprocessing that several share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import checkpoints
import torch
from PIL import Image
from torch import Tensor

Pictures = Sequence[Image.Image]


@dataclass(frozen=True)
class Family:
    """What a test needs of one family.

    Attributes:
        source: Folder or None (the hub) -> what conf/model builds.
        weights: Name of the weights in the folder.
        keys: Keys of the checkpoint to take away, rename or reshape.
        image: Pictures -> embeddings, not normalised.
        text: Sentences -> embeddings, not normalised; None without a text side.
        places: Pixels -> what the blocks of the original say of each place, (N, P, D) a block; None
            where the library that our tower is made of is the truth.
        entry: Where the checkpoint keeps its table of tensors.
        elsewhere: Tensors that are not in that file.
    """

    source: Callable[[str | None], Any]
    weights: str
    keys: tuple[str, ...]
    image: Callable[[Pictures], Tensor]
    text: Callable[[Sequence[str]], Tensor] | None
    places: Callable[[Tensor], list[Tensor]] | None = None
    entry: str | None = None
    elsewhere: int = 0


def later(make: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
    """Make a tokenizer when it is first asked: few tests read sentences by the original one."""
    made = cache(make)
    return lambda *given, **options: made()(*given, **options)


def clip_transform(size: int) -> Callable[[Pictures], Tensor]:
    """Return open_clip's own preprocessing."""
    from open_clip.transform import PreprocessCfg, image_transform_v2

    mean, std = tuple(checkpoints.CLIP_MEAN), tuple(checkpoints.CLIP_STD)
    transform = image_transform_v2(PreprocessCfg(size=size, mean=mean, std=std), is_train=False)
    return lambda pictures: torch.stack([transform(picture) for picture in pictures])


def shortest_side(size: int, method: int, mean: Sequence[float], std: Sequence[float]) -> Any:
    """Resize the shortest side along rows, then columns (Pillow before 13), crop, normalise."""
    from torchvision import transforms

    end = transforms.Compose(
        [transforms.CenterCrop(size), transforms.ToTensor(), transforms.Normalize(mean, std)]
    )

    def one(picture: Image.Image) -> Tensor:
        width, height = (int(size * side / min(picture.size)) for side in picture.size)
        wide = picture.resize((width, picture.height), method)
        return end(wide.resize((width, height), method))

    return lambda pictures: torch.stack([one(picture) for picture in pictures])
