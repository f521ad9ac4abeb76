"""OWL-ViT in the layout of transformers: boxes around what sentences name.

References:
    Minderer et al., Simple Open-Vocabulary Object Detection with Vision Transformers,
    arXiv:2205.06230.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from medrobust.types import UInt8Batch

from .hub import HubSource, Names
from .loading import POSITION_IDS, load_strict, read_checkpoint
from .preprocess import Preprocess
from .preprocessor import read_preprocess
from .settings import built, check_towers, read_settings_of
from .tokenizer import Tokenize, read_clip_tokenizer


@dataclass
class TransformersOwlViT(HubSource):
    """A checkpoint of `transformers.OwlViTForObjectDetection`, from the hub or a folder."""

    FILES: ClassVar[tuple[Names, ...]] = (
        ("config.json",),
        ("preprocessor_config.json",),
        ("tokenizer.json", "vocab.json"),
        ("model.safetensors", "pytorch_model.bin"),
    )

    def load(self) -> "OwlViTDetector":
        """Build the detector and load its weights strictly, on the CPU, in eval mode.

        Raises:
            WeightsNotFoundError: If files are missing.
            WeightsMismatchError: If a key is missing, left over or of another shape.
        """
        from transformers import OwlViTConfig, OwlViTForObjectDetection

        settings, pictures, words, weights = self.files().values()
        values = read_settings_of(settings, self.name, "owlvit")
        check_towers(values, settings.name)
        config = built(lambda: OwlViTConfig.from_dict(values), settings.name)
        with torch.device("meta"):
            detector = built(lambda: OwlViTForObjectDetection(config), settings.name)
        places = detector.compute_box_bias(detector.num_patches_height, detector.num_patches_width)
        detector.register_buffer("box_bias", places, persistent=False)  # in no checkpoint
        load_strict(detector, read_checkpoint(weights), file=weights.name, drops=POSITION_IDS)
        text = config.text_config
        return OwlViTDetector(
            detector,
            tokenize=read_clip_tokenizer(
                words, text.max_position_embeddings, text.vocab_size, text.eos_token_id
            ),
            preprocess=read_preprocess(pictures, config.vision_config.image_size),
        ).eval()


class OwlViTDetector(nn.Module):
    """Proposes boxes, one for each place of the tower's grid.

    Attributes:
        preprocess: Of images; both sides are squashed to the side of the input.
    """

    def __init__(self, detector: Any, *, tokenize: Tokenize, preprocess: Preprocess) -> None:
        super().__init__()
        self.detector = detector
        self.preprocess = preprocess
        self._tokenize = tokenize

    @property
    def side(self) -> int:
        """Of the input, in pixels."""
        side: int = self.detector.config.vision_config.image_size
        return side

    @torch.no_grad()
    def forward(self, image: UInt8Batch, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Look for what any of several sentences names.

        Args:
            image: One, (1, 3, H, W).
            texts: Sentences; a box counts as much as the one that fits it best.

        Returns:
            Corners (left, top, right, bottom) as shares of width and height, float32 (P, 4), and
            the sigmoid of each box's largest logit, float32 (P,).
        """
        ids, mask = self._tokenize(texts)
        found = self.detector(
            input_ids=ids, attention_mask=mask, pixel_values=self.preprocess(image)
        )
        centre, extent = found.pred_boxes[0].split(2, dim=1)
        corners = torch.cat([centre - extent / 2, centre + extent / 2], dim=1)
        return corners, found.logits[0].amax(dim=1).sigmoid()
