"""Segment Anything 3 on single images, in the layout of transformers: a text names what.

References:
    Carion et al., SAM 3: Segment Anything with Concepts, arXiv:2511.16719.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from medrobust.exceptions import ConfigurationError
from medrobust.types import FeatureBatch, PixelBatch

from .base import ImagePreprocess, LoadReport
from .hub import HubSource, Names, either
from .loading import Rename, load_strict, read_checkpoint
from .patches import PatchFeatures
from .preprocessor import read_preprocess
from .pyramid import LEVELS, PyramidModel
from .segmenter import MaskDecoder, PromptedBy, check_prompts
from .settings import built, read_settings_of
from .tokenizer import Tokenize, read_clip_tokenizer

KINDS = ("sam3", "sam3_video")
"""`model_type` of what is read: the published files are of the model for videos."""

TRACKER = MappingProxyType({r"tracker_(model|neck)\..*": "of videos"})
"""Keys of what follows objects from frame to frame."""


@dataclass
class TransformersSam3(HubSource):
    """A checkpoint of `transformers.Sam3Model` or `Sam3VideoModel`, from the hub or a folder.

    Attributes:
        score_threshold: Score beyond which an instance counts: its probability times that of the
            concept being there at all.
    """

    score_threshold: float = 0.5

    FILES: ClassVar[tuple[Names, ...]] = (
        ("config.json",),
        ("preprocessor_config.json", "processor_config.json"),
        ("tokenizer.json", "vocab.json"),
        either("model.safetensors"),
    )

    def __post_init__(self) -> None:
        """Refuse a threshold that is no probability.

        Raises:
            ConfigurationError: Naming it.
        """
        if not 0 <= self.score_threshold < 1:
            raise ConfigurationError(
                f"model.score_threshold={self.score_threshold} must be from 0 to below 1."
            )

    def options(self) -> dict[str, Any]:
        """Return the threshold of scores."""
        return {"score_threshold": float(self.score_threshold)}

    def load(self) -> "Sam3":
        """Build the model and load its weights strictly, on the CPU, in eval mode.

        Raises:
            WeightsNotFoundError: If files are missing.
            WeightsMismatchError: If a key is missing, left over or of another shape.
        """
        from transformers import Sam3Config, Sam3Model

        files = self.files()
        settings, pictures, words, weights = files.values()
        values = read_settings_of(settings, self.name, *KINDS)
        video = values["model_type"] == "sam3_video"
        own = values.get("detector_config") if video else values
        config = built(lambda: Sam3Config.from_dict(own), settings.name)
        with torch.device("meta"):
            model = built(lambda: Sam3Model(config), settings.name)
        _place(model)
        loaded = load_strict(
            model,
            read_checkpoint(weights),
            file=weights.name,
            renames=(Rename("^", "detector_model."),) if video else (),
            drops=TRACKER if video else None,
        )
        text = config.text_config
        tokenizer = read_clip_tokenizer(
            words, text.max_position_embeddings, text.vocab_size, text.eos_token_id
        )
        preprocess = read_preprocess(pictures, int(config.vision_config.image_size))
        self.check_resolution(preprocess.size)
        report = self.report(files, loaded)
        return Sam3(model, tokenizer, preprocess, self.score_threshold, report).eval()


def _place(model: nn.Module) -> None:
    """Fill the buffers of places and their frequencies, which no checkpoint holds."""
    from transformers.models.sam3 import modeling_sam3

    for part in model.modules():
        if isinstance(part, modeling_sam3.Sam3ViTLayer):
            places = part.precompute_positions(part.config, part.window_size)
            part.register_buffer("position_ids", places, persistent=False)
        elif isinstance(part, modeling_sam3.Sam3ViTRotaryEmbedding):
            frequencies, _ = part.compute_axial_rope_parameters(part.config)
            for name in ("inv_freq", "original_inv_freq"):
                part.register_buffer(name, frequencies.clone(), persistent=False)


class Sam3(PyramidModel):
    """SAM 3 as a segmenter of single images. Its features are the mean of its coarsest map.

    Its three maps stand as blocks 1 to 3, the finest first.
    """

    prompted_by: ClassVar[PromptedBy] = "texts"

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Tokenize,
        preprocess: ImagePreprocess,
        score_threshold: float,
        report: LoadReport,
    ) -> None:
        super().__init__()
        self.visual_encoder = model
        self.tokenizer, self.preprocess, self.report = tokenizer, preprocess, report
        self.score_threshold = score_threshold

    @torch.no_grad()
    def mask_decoder(self, texts: Sequence[Sequence[str]]) -> MaskDecoder:
        """Return what finds the instances of some texts.

        Each sentence of a class is looked for by itself, and the class is where any of them is
        found. The background's sentences are not read.

        Raises:
            ConfigurationError: If there is no class beside the background.
        """
        check_prompts(texts)
        model: Any = self.visual_encoder
        classes = []
        for sentences in texts[1:]:
            ids, mask = (one.to(self.device) for one in self.tokenizer(list(sentences)))
            found = model.get_text_features(input_ids=ids, attention_mask=mask, return_dict=True)
            classes.append((found.pooler_output, mask))
        return Sam3Decoder(model, tuple(classes), self.score_threshold)

    def _maps(self, pixels: PixelBatch) -> list[Tensor]:
        """Return the maps that are decoded, (N, D, h, w), from the finest."""
        model: Any = self.visual_encoder
        return list(model.vision_encoder(pixels, return_dict=True).fpn_hidden_states[:LEVELS])


@dataclass(frozen=True)
class Sam3Decoder:
    """From the maps of an image, and sentences a class, to where instances of the class are.

    An instance counts where its score, the probability of its query times that of the concept being
    in the image, is beyond the threshold. The logit of a class at a place is the largest of those
    of its instances, over all its sentences, and -inf without any: a class is the union of its
    instances. SAM 3's own code brings the logits of each instance straight to the pixels of the
    image, where the union is then taken.

    Attributes:
        model: `transformers.Sam3Model`; it moves with the model.
        classes: Of each class features (S, T, D) of its sentences' tokens and mask (S, T).
        score_threshold: Beyond which an instance counts.
    """

    model: nn.Module
    classes: tuple[tuple[Tensor, Tensor], ...]
    score_threshold: float

    blocks: ClassVar[tuple[int, ...]] = tuple(range(1, LEVELS + 1))

    def __call__(
        self, features: FeatureBatch, patches: PatchFeatures, boxes: Tensor | None
    ) -> Tensor:
        """Return logits of the background, 0, and of each class, (n, K, h, w)."""
        levels = [patches[block] for block in self.blocks]
        maps = [
            one.states.transpose(1, 2).reshape(len(one.states), -1, *one.grid) for one in levels
        ]
        found = []
        for tokens, mask in self.classes:
            both = zip(tokens, mask, strict=True)
            each = [self._union(maps, *sentence) for sentence in both]
            found.append(torch.stack(each).amax(dim=0))
        logits = torch.stack(found, dim=1)
        return torch.cat([torch.zeros_like(logits[:, :1]), logits], dim=1)

    def _union(self, maps: Sequence[Tensor], tokens: Tensor, mask: Tensor) -> Tensor:
        """Return the largest logit at each place of the instances that count, (n, h, w)."""
        from transformers.modeling_outputs import BaseModelOutputWithPooling
        from transformers.models.sam3.modeling_sam3 import Sam3VisionEncoderOutput

        model: Any = self.model
        images, device = len(maps[0]), maps[0].device
        position = model.vision_encoder.neck.position_encoding
        places = [position(one.shape, one.device, one.dtype) for one in maps]
        last: tuple[Any] = (None,)  # the coarser map, which the model leaves aside
        seen = Sam3VisionEncoderOutput(
            fpn_hidden_states=(*maps, *last), fpn_position_encoding=(*places, *last)
        )
        asked = tokens.to(device).expand(images, -1, -1)
        found = model(
            vision_embeds=seen,
            text_embeds=BaseModelOutputWithPooling(pooler_output=asked),
            attention_mask=mask.to(device).expand(images, -1),
            return_dict=True,
        )
        scores = found.pred_logits.sigmoid() * found.presence_logits.sigmoid()
        left_out = (scores <= self.score_threshold)[:, :, None, None]
        logits: Tensor = found.pred_masks.masked_fill(left_out, -torch.inf).amax(dim=1)
        return logits
