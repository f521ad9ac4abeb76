"""Segment Anything 2 on single images, in the layout of transformers: a box or a point names what.

References:
    Ravi et al., SAM 2: Segment Anything in Images and Videos, arXiv:2408.00714.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from medrobust.types import FeatureBatch, PixelBatch

from .base import ImagePreprocess, LoadReport
from .hub import HubSource, Names, either
from .loading import load_strict, read_checkpoint
from .patches import PatchFeatures
from .preprocessor import read_preprocess
from .pyramid import LEVELS, PyramidModel
from .segmenter import MaskDecoder, PromptedBy
from .settings import built, read_settings_of

KINDS = ("sam2", "sam2_video")
"""`model_type` of what is read: the published files are of the model for videos."""

PARTS = ("vision_config", "prompt_encoder_config", "mask_decoder_config")

MEMORY = MappingProxyType(
    {
        r"(memory_attention|memory_encoder|mask_downsample|object_pointer_proj)\..*": "of videos",
        r"temporal_positional_encoding_projection_layer\..*": "of videos",
        r"(memory_temporal|no_memory)_positional_encoding": "of videos",
        r"no_object_pointer|occlusion_spatial_embedding_parameter": "of videos",
    }
)
"""Keys of the memory of earlier frames, which one image has none of."""


@dataclass
class TransformersSam2(HubSource):
    """A checkpoint of `transformers.Sam2Model` or `Sam2VideoModel`, from the hub or a folder."""

    FILES: ClassVar[tuple[Names, ...]] = (
        ("config.json",),
        ("preprocessor_config.json",),
        either("model.safetensors"),
    )

    def load(self) -> "Sam2":
        """Build the model and load its weights strictly, on the CPU, in eval mode.

        Raises:
            WeightsNotFoundError: If files are missing.
            WeightsMismatchError: If a key is missing, left over or of another shape.
        """
        from transformers import Sam2Config, Sam2Model

        files = self.files()
        settings, pictures, weights = files.values()
        values = read_settings_of(settings, self.name, *KINDS)
        own = {name: _untyped(values.get(name)) for name in PARTS}
        config = built(lambda: Sam2Config(**own), settings.name)
        with torch.device("meta"):
            model = built(lambda: Sam2Model(config), settings.name)
        loaded = load_strict(model, read_checkpoint(weights), file=weights.name, drops=MEMORY)
        side = int(config.prompt_encoder_config.image_size)
        preprocess = read_preprocess(pictures, side)
        self.check_resolution(preprocess.size)
        report = self.report(files, loaded)
        return Sam2(model, preprocess, side, report).eval()


def _untyped(part: Any) -> Any:
    return {k: v for k, v in part.items() if k != "model_type"} if isinstance(part, dict) else part


class Sam2(PyramidModel):
    """SAM 2 as a segmenter of single images. Its features are the mean of the image embedding.

    Its three maps stand as blocks 1 to 3, the finest first.
    """

    prompted_by: ClassVar[PromptedBy] = "boxes"
    takes_points: ClassVar[bool] = True

    def __init__(
        self, model: nn.Module, preprocess: ImagePreprocess, side: int, report: LoadReport
    ) -> None:
        super().__init__()
        self.visual_encoder = model
        self.preprocess, self.side, self.report = preprocess, side, report

    def mask_decoder(self, texts: Any) -> MaskDecoder:
        """Return what segments what boxes or points name; there are no texts to be read."""
        return Sam2Decoder(self.visual_encoder, self.side)

    def _maps(self, pixels: PixelBatch) -> list[Tensor]:
        """Return the maps that the decoder reads, (N, D, h, w), from the finest."""
        model: Any = self.visual_encoder
        found = list(model.get_image_features(pixels, return_dict=True).fpn_hidden_states)
        found[-1] = found[-1] + model.no_memory_embedding  # places, images, channels
        sizes = model.backbone_feature_sizes
        return [
            one.permute(1, 2, 0).reshape(len(pixels), -1, *size)
            for one, size in zip(found, sizes, strict=True)
        ]


@dataclass(frozen=True)
class Sam2Decoder:
    """From the maps of an image, and a box or a point a class, to logits of a quarter of the input.

    Of the masks that the decoder offers it takes the single one (`multimask_output=False`), which
    it replaces itself where that is not stable. SAM 2's own code brings these logits straight to
    the pixels of the image.

    Attributes:
        model: `transformers.Sam2Model`; it moves with the model.
        side: Of the input, in pixels; boxes and points are given in these.
    """

    model: nn.Module
    side: int

    blocks: ClassVar[tuple[int, ...]] = tuple(range(1, LEVELS + 1))

    def __call__(
        self, features: FeatureBatch, patches: PatchFeatures, boxes: Tensor | None
    ) -> Tensor:
        """Return logits of the background, 0, and of each class, -inf where it has no prompt."""
        assert boxes is not None
        levels = [patches[block] for block in self.blocks]
        maps = [
            one.states.transpose(1, 2).reshape(len(one.states), -1, *one.grid) for one in levels
        ]
        model: Any = self.model
        given = boxes.nan_to_num(0.0) * self.side
        points, labels, corners = None, None, None
        if boxes.shape[2] == 4:
            corners = given
        else:
            points = given[:, :, None]
            labels = torch.ones(*given.shape[:2], 1, dtype=torch.int, device=given.device)
        sparse, dense = model.prompt_encoder(points, labels, corners, None)
        places = model.get_image_wide_positional_embeddings()
        found: Tensor = model.mask_decoder(
            image_embeddings=maps[-1],
            image_positional_embeddings=places.expand(len(given), -1, -1, -1),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=False,
            high_resolution_features=maps[:-1],
        )[0][:, :, 0]
        absent = boxes.isnan().any(dim=2)[:, :, None, None]
        found = found.masked_fill(absent, -torch.inf)
        return torch.cat([torch.zeros_like(found[:, :1]), found], dim=1)
