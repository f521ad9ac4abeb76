"""Swin transformers of transformers, from checkpoints with the names of its version 4."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from .loading import Rename

SWIN_KEYS = (
    Rename(r"(blocks\.\d+\.attention)\.q_proj", r"\1.self.query"),
    Rename(r"(blocks\.\d+\.attention)\.k_proj", r"\1.self.key"),
    Rename(r"(blocks\.\d+\.attention)\.v_proj", r"\1.self.value"),
    Rename(r"(blocks\.\d+\.attention)\.o_proj", r"\1.output.dense"),
    Rename(r"(blocks\.\d+\.attention)\.relative_position_bias\.", r"\1.self."),
    Rename(r"(blocks\.\d+)\.mlp\.fc1", r"\1.intermediate.dense"),
    Rename(r"(blocks\.\d+)\.mlp\.fc2", r"\1.output.dense"),
)
"""From the keys of version 5 to those of version 4."""

SWIN_DROPS = {r".*\.relative_position_index": "index buffer, which the model makes itself"}


def swin(sizes: Mapping[str, Any]) -> nn.Module:
    """Build a Swin transformer on the CPU: its index buffers are made here, not loaded.

    Args:
        sizes: Keywords of `transformers.SwinConfig`.
    """
    from transformers import SwinConfig, SwinModel

    built: nn.Module = SwinModel(SwinConfig(**sizes), add_pooling_layer=False)
    return built
