"""Images of other splits, from which heads are made, as the engine would read them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medrobust.base.lazy_rows import UnreadRows
from medrobust.exceptions import ConfigurationError, DatasetNotFoundError, UnknownNameError
from medrobust.tasks.base import ModelSide

READ = 32
"""Images that are read at a time."""


def other_split(data: Any, name: str, task: str) -> Any:
    """Open another split of a set.

    Args:
        data: Any split of it.
        name: Of the one that is wanted.
        task: That needs it, for the message.

    Raises:
        ConfigurationError: If there is only the one at hand, or the set has no such split.
    """
    if data.split == name:
        images = getattr(data, "images", None)
        return images.split if isinstance(images, UnreadRows) else data
    if data.other_split is None:
        raise ConfigurationError(
            f"task={task} needs the {name} split of data set {data.name!r}, and only split "
            f"{data.split!r} was given: pass a data set with splits."
        )
    try:
        return data.other_split(name)
    except (DatasetNotFoundError, UnknownNameError) as error:
        raise ConfigurationError(
            f"task={task} needs the {name} split of data set {data.name!r}, beside split "
            f"{data.split!r}: {error}"
        ) from error


def batches(images: Any, device: Any) -> Iterator[Tensor]:
    """Yield stored images (n, C, H, W) on a device, as the engine reads them."""
    for start in range(0, len(images), READ):
        stored = np.asarray(images.images[start : start + READ])
        channels = stored[..., None] if stored.ndim == 3 else stored
        own = np.array(np.moveaxis(channels, -1, 1), order="C")  # stored ones cannot be written to
        yield torch.from_numpy(own).to(device)


def on_device(side: ModelSide) -> Any:
    """Return the model, on a GPU if there is one."""
    model = side.model()
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    return model
