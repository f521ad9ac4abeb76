"""Segment Anything and MedSAM whole: image tower, and decoder of what a box or a point names.

The tower is that of `TimmCheckpoint`; prompts and masks are transformers' own modules.

References:
    Kirillov et al., Segment Anything, arXiv:2304.02643. Ma et al., Segment Anything in Medical
    Images, Nature Communications 15:654 (2024); their `MedSAM_Inference.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from medrobust.exceptions import WeightsMismatchError
from medrobust.types import FeatureBatch

from .loading import Rename, load_strict
from .patches import PatchFeatures
from .range_preprocess import RangePreprocess
from .segmenter import MaskDecoder, PromptedBy, SegmentationModel
from .timm_checkpoint import TimmCheckpoint
from .vision import VisionModel

PARTS = ("prompt_encoder.", "mask_decoder.", "shared_image_embedding.")
"""Prefixes of what a checkpoint holds beside its image encoder."""

SHARED = "shared_image_embedding.positional_embedding"
"""Key that the layout of transformers has and Meta's has not."""

TWICE = "prompt_encoder.shared_embedding.positional_embedding"
"""Where transformers may have written the same tensor once more."""

TRANSFORMERS = (Rename(r"^prompt_encoder\.shared_embedding\.", "shared_image_embedding."),)

_MLP = r"^(mask_decoder\.(?:iou_prediction_head|output_hypernetworks_mlps\.\d+))\."

META = (
    Rename(
        r"^prompt_encoder\.shared_embedding\.positional_embedding$",
        "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
    ),
    Rename(r"^prompt_encoder\.point_embed\.", "prompt_encoder.point_embeddings."),
    Rename(r"\.mask_embed\.conv1\.", ".mask_downscaling.0."),
    Rename(r"\.mask_embed\.layer_norm1\.", ".mask_downscaling.1."),
    Rename(r"\.mask_embed\.conv2\.", ".mask_downscaling.3."),
    Rename(r"\.mask_embed\.layer_norm2\.", ".mask_downscaling.4."),
    Rename(r"\.mask_embed\.conv3\.", ".mask_downscaling.6."),
    Rename(r"\.upscale_conv1\.", ".output_upscaling.0."),
    Rename(r"\.upscale_layer_norm\.", ".output_upscaling.1."),
    Rename(r"\.upscale_conv2\.", ".output_upscaling.3."),
    Rename(rf"{_MLP}layers\.0\.", r"\1.layers.1."),
    Rename(rf"{_MLP}proj_in\.", r"\1.layers.0."),
    Rename(rf"{_MLP}proj_out\.", r"\1.layers.2."),
    Rename(r"^(mask_decoder\.transformer\..*)layer_norm", r"\1norm"),
)
"""Keys of transformers' modules -> those of `segment_anything`'s `modeling`."""


@dataclass
class SamCheckpoint(TimmCheckpoint):
    """A checkpoint of Segment Anything, in Meta's layout or in that of transformers.

    A file that holds the image encoder alone is an image tower, as by `TimmCheckpoint`.
    """

    def _completed(self, tower: VisionModel, state: Mapping[str, Tensor], file: str) -> VisionModel:
        if not any(key.startswith("mask_decoder.") for key in state):
            return tower
        side: int = tower.preprocess.size  # type: ignore[attr-defined]
        prompted = _prompted(tower.visual_encoder, side)
        own = {key: value for key, value in state.items() if key.startswith(PARTS)}
        twice = own.pop(TWICE, None) if SHARED in own else None
        if twice is not None and not torch.equal(twice, own[SHARED]):
            raise WeightsMismatchError(
                f"{file} has two different tensors, {SHARED} and {TWICE}, which are one in Segment "
                f"Anything. Fetch the weights again."
            )
        renames = TRANSFORMERS if SHARED in own else META
        loaded = load_strict(prompted, own, file=file, renames=renames)
        report = replace(
            tower.report,
            used=tower.report.used + loaded.used,
            renamed={**tower.report.renamed, **loaded.renamed},
            dropped={
                key: reason
                for key, reason in tower.report.dropped.items()
                if not key.startswith(PARTS)
            }
            | ({} if twice is None else {TWICE: f"the same tensor as {SHARED}"}),
        )
        return SamModel(tower.visual_encoder, prompted, tower.preprocess, report)


def _prompted(tower: nn.Module, side: int) -> nn.ModuleDict:
    """Build the prompt encoder and the mask decoder on the meta device, as wide as the neck.

    Published sizes are those of a neck of 256 channels: as many units in the head of IoUs, eight
    times as many in the decoder's MLPs, half as many positional features.
    """
    from transformers import SamConfig
    from transformers.models.sam.modeling_sam import SamMaskDecoder, SamPromptEncoder

    neck: Any = tower.neck
    embed: Any = tower.patch_embed
    width, patch = int(neck[0].out_channels), int(embed.patch_size[0])
    decoder = {"mlp_dim": 8 * width, "iou_head_hidden_dim": width}
    config = SamConfig(
        vision_config={"num_pos_feats": width // 2},
        prompt_encoder_config={"hidden_size": width, "image_size": side, "patch_size": patch},
        mask_decoder_config={"hidden_size": width, **decoder},
    )
    config.mask_decoder_config._attn_implementation = "sdpa"
    with torch.device("meta"):
        parts = SamPromptEncoder(config), SamMaskDecoder(config.mask_decoder_config)
    return nn.ModuleDict(dict(zip(("prompt_encoder", "mask_decoder"), parts, strict=True)))


class SamModel(VisionModel, SegmentationModel):
    """An image tower that segments what a box, or a point, points at.

    Its features are those of the tower alone.
    """

    prompted_by: ClassVar[PromptedBy] = "boxes"
    takes_points: ClassVar[bool] = True

    def __init__(
        self, tower: nn.Module, prompted: nn.ModuleDict, preprocess: Any, report: Any
    ) -> None:
        super().__init__(tower, preprocess, report)
        self.prompted = prompted

    def mask_decoder(self, texts: Any) -> MaskDecoder:
        """Return what segments what boxes or points name; there are no texts to be read.

        Logits are brought to the input size before they are brought to the pixels, as SAM's own
        code does; MedSAM's brings probabilities of the decoder's own size to the pixels, so those,
        less a half, stand for logits.
        """
        encoder: Any = self.visual_encoder
        return SamDecoder(
            encoder.neck,
            self.prompted,
            self.preprocess.size,  # type: ignore[attr-defined]
            (self.patch_blocks,),
            probabilities=isinstance(self.preprocess, RangePreprocess),
        )


@dataclass(frozen=True)
class SamDecoder:
    """From the states of the last block, and a box or a point a class, to a logit of each pixel.

    Of the masks that the decoder offers it takes the single one (`multimask_output=False`), as for
    boxes is usual.

    Attributes:
        neck: Of the tower, from its last block to the image embedding.
        prompted: Prompt encoder and mask decoder of transformers; they move with the model.
        side: Of the input, in pixels; boxes and points are given in these.
        blocks: The last one.
        probabilities: Whether probabilities less a half are returned, (n, K, h, w) of the decoder's
            own size, in place of logits of the size of the input.
    """

    neck: nn.Module
    prompted: nn.ModuleDict
    side: int
    blocks: tuple[int, ...]
    probabilities: bool

    def __call__(
        self, features: FeatureBatch, patches: PatchFeatures, boxes: Tensor | None
    ) -> Tensor:
        """Return logits of the background, 0, and of each class, -inf where it has no prompt."""
        assert boxes is not None
        level = patches[self.blocks[0]]
        states = level.states.transpose(1, 2).reshape(len(level.states), -1, *level.grid)
        found = self.low_resolution(self.neck(states), boxes)
        if self.probabilities:
            found = found.sigmoid() - 0.5
        else:
            sides = (self.side, self.side)
            found = functional.interpolate(found, sides, mode="bilinear", align_corners=False)
        absent = boxes.isnan().any(dim=2)[:, :, None, None]
        found = found.masked_fill(absent, -torch.inf)
        return torch.cat([torch.zeros_like(found[:, :1]), found], dim=1)

    def low_resolution(self, embedding: Tensor, boxes: Tensor) -> Tensor:
        """Return logits (n, K - 1, h, w) of the decoder's own size, four times the embedding's.

        Args:
            embedding: float32 (n, D, h / 4, w / 4), of the image.
            boxes: float32 (n, K - 1, 4), or points (n, K - 1, 2), as shares of the image; NaN is
                read as 0, and what comes of it means nothing.
        """
        encoder, decoder = self.prompted["prompt_encoder"], self.prompted["mask_decoder"]
        given = boxes.nan_to_num(0.0) * self.side
        if boxes.shape[2] == 4:
            prompts = {"input_boxes": given, "input_points": None, "input_labels": None}
        else:
            labels = torch.ones(*given.shape[:2], 1, dtype=torch.int, device=given.device)
            points = {"input_points": given[:, :, None], "input_labels": labels}
            prompts = {"input_boxes": None, **points}
        sparse, dense = encoder(input_masks=None, **prompts)
        size = embedding.shape[2:]
        axes = [(torch.arange(side, device=given.device) + 0.5) / side for side in size]
        y, x = torch.meshgrid(*axes, indexing="ij")
        positions = encoder.shared_embedding(torch.stack([x, y], dim=-1))  # type: ignore[operator]
        masks: Tensor = decoder(
            image_embeddings=embedding,
            image_positional_embeddings=positions.permute(2, 0, 1)[None].expand_as(embedding),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )[0]
        return masks[:, :, 0]
