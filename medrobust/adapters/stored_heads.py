"""Fitted heads on disk, one a data set: how they are written, and found again."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from medrobust.exceptions import ConfigurationError
from medrobust.models.loading import read_checkpoint

from .attention import Pooled, pooled_of
from .base import HeadRecipe, check_keys
from .linear_probe import LinearProbe, Probe
from .nearest_neighbours import NearestNeighbours, Neighbours, neighbours_of
from .prototypes import Prototypes

HEADS = "heads.safetensors"
"""File of heads beside a tuned encoder."""

FITTED: Mapping[str, type] = {
    "linear_probe": LinearProbe,
    "knn": NearestNeighbours,
    "prototypes": Prototypes,
}
"""Heads that can be fitted on a tuned encoder, as conf/adapter names them."""


def fitted_head(name: str) -> HeadRecipe:
    """Return the recipe of a head with its usual settings.

    Raises:
        ConfigurationError: If there is none of that name.
    """
    if name not in FITTED:
        raise ConfigurationError(
            f"tuning.head={name!r} is none of {', '.join(FITTED)}, or null for class texts."
        )
    made: HeadRecipe = FITTED[name]()
    return made


def packed_heads(heads: Mapping[str, nn.Module]) -> bytes:
    """Return heads by data set as one file of safetensors."""
    from safetensors.torch import save

    return save({f"{n}.{k}": v for n, head in heads.items() for k, v in head.state_dict().items()})


def stored_head(
    path: Path,
    data: Sequence[Mapping[str, Any]],
    dataset: str,
    class_names: Sequence[str] = (),
) -> Probe | Neighbours | Pooled:
    """Return the head of a data set, or one that was fitted on exactly its classes.

    Args:
        path: What `packed_heads` made.
        data: What the artifact says of each data set that heads were fitted on.
        dataset: Name of the set that is asked for.
        class_names: In label order.

    Raises:
        ConfigurationError: If there is none.
    """
    state = read_checkpoint(path)
    made = [one["dataset"] for one in data if one["dataset"] == dataset]
    made += [
        one["dataset"] for one in data if class_names and one["class_names"] == list(class_names)
    ]
    of = f"{made[0]}." if made else ""
    found = {k.removeprefix(of): v for k, v in state.items() if of and k.startswith(of)}
    if not found:
        fitted: Sequence[str] = sorted({name.rpartition(".")[0] for name in state})
        raise ConfigurationError(
            f"the head {str(path.parent)!r} was fitted on {', '.join(fitted)} and has no head "
            f"for {dataset}: its classes are others."
        )
    head = _head_of(found)
    check_keys(found, head.state_dict(), "the head")
    return head


def _head_of(state: dict[str, Tensor]) -> Probe | Neighbours | Pooled:
    """Tell by the names of its tensors what head was fitted."""
    if "neighbours" in state:
        return neighbours_of(state)
    if "query" in state:
        return pooled_of(state)
    return Probe(state["weight"], state["bias"])
