"""Names of weights: from the towers that transformers builds to the checkpoints of open_clip."""

from .loading import Rename

VISION_KEYS = (
    Rename(r"^visual\.model\.embeddings\.class_embedding", "visual.class_embedding"),
    Rename(r"^(visual)\.model\.embeddings\.position_embedding\.weight", r"\1.positional_embedding"),
    Rename(r"^visual\.model\.embeddings\.patch_embedding", "visual.conv1"),
    Rename(r"^visual\.model\.pre_layrnorm", "visual.ln_pre"),
    Rename(r"^visual\.model\.post_layernorm", "visual.ln_post"),
    Rename(r"^visual\.model\.encoder\.layers\.", "visual.transformer.resblocks."),
)
"""From `transformers.CLIPVisionModel` to the vision transformer of open_clip."""

TEXT_KEYS = (
    Rename(r"^text\.model\.embeddings\.token_embedding", "text.token_embedding"),
    Rename(r"^text\.model\.embeddings\.position_embedding\.weight", "text.positional_embedding"),
    Rename(r"^text\.model\.final_layer_norm", "text.ln_final"),
    Rename(r"^text\.model\.encoder\.layers\.", "text.transformer.resblocks."),
)
"""From `transformers.CLIPTextModel` to the text transformer of open_clip."""

BLOCK_KEYS = (
    Rename(r"self_attn\.q_proj\.", "attn.in_proj_", part=0),
    Rename(r"self_attn\.k_proj\.", "attn.in_proj_", part=1),
    Rename(r"self_attn\.v_proj\.", "attn.in_proj_", part=2),
    Rename(r"self_attn\.out_proj", "attn.out_proj"),
    Rename(r"layer_norm([12])", r"ln_\1"),
    Rename(r"(resblocks\.\d+\.mlp)\.fc1", r"\1.c_fc"),
    Rename(r"(resblocks\.\d+\.mlp)\.fc2", r"\1.c_proj"),
)
"""Within a block of both."""

TIMM_KEYS = (
    Rename(r"trunk\.embeddings\.cls_token", "trunk.cls_token"),
    Rename(r"trunk\.embeddings\.position_embeddings", "trunk.pos_embed"),
    Rename(r"trunk\.embeddings\.patch_embeddings\.projection", "trunk.patch_embed.proj"),
    Rename(r"trunk\.layers\.", "trunk.blocks."),
    Rename(r"attention\.q_proj", "attn.qkv", part=0),
    Rename(r"attention\.k_proj", "attn.qkv", part=1),
    Rename(r"attention\.v_proj", "attn.qkv", part=2),
    Rename(r"attention\.o_proj", "attn.proj"),
    Rename(r"layernorm_before", "norm1"),
    Rename(r"layernorm_after", "norm2"),
    Rename(r"trunk\.layernorm", "trunk.norm"),
)
"""From `transformers.ViTModel` to a vision transformer of timm."""

KEYS = (*VISION_KEYS, *TIMM_KEYS, *TEXT_KEYS, *BLOCK_KEYS)
