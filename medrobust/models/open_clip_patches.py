"""How places of open_clip's image towers get into the space that images and texts share."""

from typing import Any

from torch import nn

from .open_clip_towers import ClipVision, TimmVision
from .patches import Projection

LAST_STAGE = 4


def image_side(tower: Any) -> nn.Module:
    """Return the image tower, which lies inside the library's whole model where that was built."""
    side: nn.Module = getattr(getattr(tower, "model", None), "visual", tower)
    return side


def patch_projection(tower: Any, block: int) -> Projection | None:
    """Return the way of places of a block; None where a tower pools by attention alone."""
    if isinstance(tower, ClipVision):
        return lambda states: tower.model.post_layernorm(states) @ tower.proj
    if isinstance(tower, TimmVision):
        return lambda states: tower.head["proj"](tower.trunk.layernorm(states))
    if hasattr(tower, "attnpool"):
        return resnet_projection(tower, block)
    return _of_library(tower)


def resnet_projection(tower: Any, block: int) -> Projection | None:
    """Return the way of CLIP's ResNets, of their last stage: value and output of the pool.

    As if each place were the only one that the pool attends to, without its position.

    References:
        Zhou et al., Extract free dense labels from CLIP, arXiv:2112.01071.
    """
    if block != LAST_STAGE:
        return None
    pool = tower.attnpool
    return lambda states: pool.c_proj(pool.v_proj(states))


def _of_library(tower: Any) -> Projection | None:
    """Return the way in a tower that open_clip has built itself."""
    proj, pools = getattr(tower, "proj", None), getattr(tower, "attn_pool", None)
    if hasattr(tower, "ln_post") and proj is not None and pools is None:
        return lambda states: tower.ln_post(states) @ proj
    trunk, head = getattr(tower, "trunk", None), getattr(tower, "head", None)
    plain = hasattr(trunk, "blocks") and getattr(trunk, "attn_pool", None) is None
    if trunk is None or head is None or not plain:
        return None
    return lambda states: head(trunk.fc_norm(trunk.norm(states)))
