"""Where the projections lie that low-rank adaptation targets: facts, one entry a layout.

The names are those below the image tower. A layout whose names a model has is used; the first in
this order wins, so that a more special one stands before a more general one.
"""

import re
from dataclasses import dataclass, field

from torch import nn

from medrobust.exceptions import ConfigurationError, unknown_name


@dataclass(frozen=True, slots=True)
class Layout:
    """One way to name the parts of an image tower.

    Attributes:
        name: For messages.
        blocks: Regular expression of one repeated block, with its number as a group.
        parts: Part -> regular expression below the block.
    """

    name: str
    blocks: str
    parts: dict[str, str] = field(default_factory=dict)


_MLP = {"fc1": r"mlp\.fc1", "fc2": r"mlp\.fc2"}

LAYOUTS = (
    Layout(  # transformers 5: CLIPVisionModel, SiglipVisionModel
        "clip vision transformer of transformers",
        r"(?:.+\.)?encoder\.layers\.(\d+)",
        {part: rf"self_attn\.{part}_proj" for part in "qkv"}
        | {"out": r"self_attn\.out_proj"}
        | _MLP,
    ),
    Layout(  # transformers 5: ViTModel, to which BiomedCLIP's timm tower is loaded; Dinov2Model
        "vision transformer of transformers",
        r"(?:.+\.)?layers?\.(\d+)",
        {part: rf"attention\.{part}_proj" for part in "qkv"} | {"out": r"attention\.o_proj"} | _MLP,
    ),
    Layout(  # medrobust/models/phantomclip.py
        "phantomclip",
        r"blocks\.(\d+)",
        {part: rf"attention\.{part}_proj" for part in "qkv"}
        | {"out": r"attention\.out_proj", "fc1": r"mlp\.0", "fc2": r"mlp\.2"},
    ),
    Layout(  # transformers 5: SwinModel (MedCLIP-ViT)
        "swin transformer of transformers",
        r"(?:.+\.)?layers\.\d+\.blocks\.(\d+)",
        {part: rf"attention\.(?:self\.)?{part}_proj" for part in "qkv"}
        | {"out": r"attention\.(?:output\.)?o_proj"}
        | _MLP,
    ),
    Layout(  # timm: one fused projection; q, k and v then share their A
        "vision transformer of timm, fused query, key and value",
        r"(?:.+\.)?blocks\.(\d+)",
        {"qkv": r"attn\.qkv", "out": r"attn\.proj"} | _MLP,
    ),
    Layout(  # torchvision and open_clip: bottlenecks; not the attention pool, which peft ignores
        "residual network",
        r"(?:.+\.)?layer(\d)\.\d+",
        {"conv": r"conv[123]"},
    ),
)


def find_targets(model: nn.Module, tower: str, parts: tuple[str, ...]) -> tuple[str, list[str]]:
    """Find the modules that parts of an image tower mean.

    Args:
        model: The model.
        tower: Prefix of the image side, with its dot.
        parts: Such as ("q", "k", "v"), ("q", "v", "out"), ("conv",); "qkv" where they are fused.

    Returns:
        A regular expression of whole module names, and the names it matches, in order.

    Raises:
        UnknownNameError: If no layout has such a part.
        ConfigurationError: If the tower has none of the layouts that have these parts.
    """
    known = sorted({part for layout in LAYOUTS for part in layout.parts})
    for part in parts:
        if part not in known:
            raise unknown_name("part of an image tower", part, known)
    names = [name for name, _ in model.named_modules() if name.startswith(tower)]
    for layout in LAYOUTS:
        if not set(parts) <= layout.parts.keys():
            continue
        below = "|".join(layout.parts[part] for part in parts)
        pattern = rf"{re.escape(tower)}{layout.blocks}\.(?:{below})"
        matched = [name for name in names if re.fullmatch(pattern, name)]
        each = [sum(bool(re.search(rf"(?:{layout.parts[p]})$", n)) for n in matched) for p in parts]
        if matched and all(each):
            return pattern, matched
    raise ConfigurationError(
        f"adapter.targets={list(parts)}: {type(model).__name__} has no such parts below {tower!r}. "
        f"It has: {', '.join(_parts_of(names, tower)) or 'none of the known layouts'}. A regular "
        f"expression of whole module names in adapter.modules names any others."
    )


def _parts_of(names: list[str], tower: str) -> list[str]:
    found: dict[str, None] = {}
    for layout in LAYOUTS:
        for part, below in layout.parts.items():
            pattern = rf"{re.escape(tower)}{layout.blocks}\.(?:{below})"
            if any(re.fullmatch(pattern, name) for name in names):
                found[part] = None
    return list(found)
