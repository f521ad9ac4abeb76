"""Dual encoders in the layout of open_clip: from the hub, from a folder, or with a known config."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from medrobust.exceptions import (
    ConfigurationError,
    WeightsMismatchError,
    WeightsNotFoundError,
)
from medrobust.types import PixelBatch

from .architectures import known, packaged
from .base import LoadReport, VisionLanguageModel
from .hub import HubSource, Wanted, either
from .loading import POSITION_IDS, load_strict, multiplier, read_checkpoint
from .open_clip_patches import image_side, patch_projection
from .open_clip_towers import (
    CLIP_VOCABULARY,
    CONFIG,
    ClipVision,
    LibraryTowers,
    TimmVision,
    Towers,
    build_towers,
)
from .patches import Projection
from .preprocess import CLIP_MEAN, CLIP_STD, Preprocess
from .preprocessor import channels
from .settings import check_open_clip, read_settings
from .text_cleaning import open_clip_text
from .tokenizer import ClipTokenizer, OpenClipBertTokenizer, Tokenize, read_tokenizer

WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


@dataclass
class OpenClip(HubSource):
    """A checkpoint of open_clip, from the hub or a folder with the same files.

    Attributes:
        config: None reads `open_clip_config.json` beside the weights; a name of
            `architectures.json`, or a path, for weights that are published without it.
        weights: File name of the weights in the repository; None: as open_clip names them.
        tokenizer_id: Repository of the vocabulary, if it is not beside the weights.
        quick_gelu: None as the configuration says; true for configurations that forget to say it
            (OpenAI's weights need it in both transformers).
    """

    config: str | None = None
    weights: str | None = None
    tokenizer_id: str = ""
    quick_gelu: bool | None = None

    INTERPOLATES: ClassVar[bool] = True

    def wanted(self) -> list[Wanted]:
        """Return configuration (unless it is known), vocabulary (of a BERT) and weights."""
        wanted = [Wanted((CONFIG,))] if self.config is None else []
        said = self._said()
        # open_clip reads CLIP's own vocabulary from its package; a BERT has one of its own.
        if said is None or "hf_model_name" in said["text_cfg"]:
            wanted.append(Wanted(("tokenizer.json", "vocab.txt"), self.tokenizer_id))
        return [*wanted, Wanted(either(self.weights) if self.weights else WEIGHTS)]

    def _not_found(self, missing: Sequence[Wanted], where: str) -> WeightsNotFoundError:
        """Say what a checkpoint of one's own needs in place of a repository's configuration."""
        error = super()._not_found(missing, where)
        if self.hub_id or not any(CONFIG in entry.names for entry in missing):
            return error
        return WeightsNotFoundError(
            f"{error} A checkpoint that comes without {CONFIG} takes a configuration by its name "
            f"in open_clip: model.config=ViT-B-32 model.weights=FILE."
        )

    def _said(self) -> dict[str, Any] | None:
        """Read the `model_cfg`, as far as it can be had."""
        if self.config is not None:
            return _model_config(packaged(self.config), self.config)
        path = self.peek(CONFIG)
        return None if path is None else _model_config(read_settings(path), path.name)

    def options(self) -> dict[str, Any]:
        """Return what decides features and is in no file of the publisher."""
        chosen: dict[str, Any] = {}
        if self.config is not None:
            chosen["config"] = packaged(self.config)
        if self.quick_gelu is not None:
            chosen["quick_gelu"] = self.quick_gelu
        return chosen

    def reworded(self, sentences: Sequence[str]) -> dict[str, str]:
        """Return sentence -> what is read, for those that open_clip cleans and 0.1 did not."""
        said = self._said()
        return {} if said is None else reworded_text(said, sentences, self.config or CONFIG)

    def load(self) -> VisionLanguageModel:
        """Build the model and load its weights strictly, on the CPU, in eval mode.

        Raises:
            WeightsNotFoundError: If files are missing.
            WeightsMismatchError: If a key is missing, left over or of another shape, or the
                configuration describes what cannot be built.
        """
        files = self.files()
        said = packaged(self.config) if self.config else read_settings(files[CONFIG])
        architecture = _model_config(said, self.config or CONFIG)
        if self.quick_gelu is not None:
            architecture = architecture | {"quick_gelu": self.quick_gelu}
        weights = list(files.values())[-1]
        towers, renames = build_towers(architecture, self.config or CONFIG)
        loaded = load_strict(
            towers, read_checkpoint(weights), file=weights.name, renames=renames, drops=POSITION_IDS
        )
        preprocess = _preprocess(architecture, said.get("preprocess_cfg", {}))
        self.check_resolution(preprocess.size)
        if self.image_size is not None:
            preprocess = preprocess.at(self.image_size, _interpolated(towers))
        return OpenClipModel(
            towers,
            tokenize=_tokenizer(architecture["text_cfg"], files, self.config or CONFIG),
            preprocess=preprocess,
            report=self.report(files, loaded),
        ).eval()


class OpenClipModel(VisionLanguageModel):
    """A dual encoder of open_clip."""

    def __init__(
        self,
        towers: Towers | LibraryTowers,
        *,
        tokenize: Tokenize,
        preprocess: Preprocess,
        report: LoadReport,
    ) -> None:
        super().__init__()
        self.visual_encoder = towers.visual
        self.text_encoder = towers.text
        self.tokenizer = tokenize
        self.preprocess = preprocess
        self.report = report
        self.logit_scale = multiplier(towers.logit_scale)

    def _image_embedding(self, pixels: PixelBatch) -> Tensor:
        embedding: Tensor = self.visual_encoder(pixels)
        return embedding

    def _image_side(self) -> nn.Module:
        return image_side(self.visual_encoder)

    def _patch_projection(self, block: int) -> Projection | None:
        return patch_projection(self._image_side(), block)

    def _text_embedding(self, sentences: Sequence[str]) -> Tensor:
        ids, mask = (tensor.to(self.device) for tensor in self.tokenizer(sentences))
        embedding: Tensor = self.text_encoder(ids, mask)
        return embedding


def _interpolated(towers: Towers | LibraryTowers) -> int:
    """Let a vision transformer take another size; return the side of its patches.

    Raises:
        ConfigurationError: If the image tower is none of ours.
    """
    visual = towers.visual
    if not isinstance(visual, ClipVision | TimmVision):
        raise ConfigurationError(
            "model.image_size: only the position embeddings of vision transformers can be "
            "interpolated, and this image tower is another. Leave it out."
        )
    visual.interpolated = True
    inner = visual.model if isinstance(visual, ClipVision) else visual.trunk
    side: int = inner.config.patch_size
    return side


def reworded_text(
    architecture: Mapping[str, Any], sentences: Sequence[str], source: str
) -> dict[str, str]:
    """Return the sentences that a configuration of open_clip alters: sentence -> as it is read."""
    text = open_clip_text(architecture["text_cfg"], source)
    return {sentence: text(sentence) for sentence in sentences if text.altered(sentence)}


def _model_config(said: dict[str, Any], file: str) -> dict[str, Any]:
    inner: Any = said.get("model_cfg", said)
    kinds = {"embed_dim": int, "vision_cfg": dict, "text_cfg": dict}
    if not isinstance(inner, dict):
        raise WeightsMismatchError("the model_cfg of open_clip_config.json is no table.")
    lacking = [key for key, kind in kinds.items() if not isinstance(inner.get(key), kind)]
    if lacking:
        raise WeightsMismatchError(
            f"the configuration of open_clip has no {', '.join(lacking)}: it is of another kind."
        )
    check_open_clip(inner, file)
    return inner


def _tokenizer(said: Mapping[str, Any], files: Mapping[str, Path], source: str) -> Tokenize:
    context, text = said.get("context_length", 77), open_clip_text(said, source)
    words = next((files[name] for name in ("tokenizer.json", "vocab.txt") if name in files), None)
    if words is None:
        return ClipTokenizer(context, said.get("vocab_size", CLIP_VOCABULARY), text.clean)
    return bert_tokenizer(words, said, source)


def bert_tokenizer(words: Path, said: Mapping[str, Any], source: str) -> Tokenize:
    """Read a BERT's vocabulary as a configuration of open_clip uses it.

    Args:
        words: `tokenizer.json` or `vocab.txt`.
        said: The `text_cfg`.
        source: Where that was read, for messages.

    Raises:
        WeightsMismatchError: If vocabulary and model do not belong together.
    """
    rows = known("bert", said["hf_model_name"], source)["vocab_size"]
    tokenize = read_tokenizer(words, said.get("context_length", 77), "[PAD]", rows)
    return OpenClipBertTokenizer(tokenize, open_clip_text(said, source))


def _preprocess(architecture: Mapping[str, Any], pictures: Mapping[str, Any]) -> Preprocess:
    size = pictures.get("size") or architecture["vision_cfg"].get("image_size", 224)
    if isinstance(size, list):
        size = size[0] if len(set(size)) == 1 else None
    if not isinstance(size, int):
        raise WeightsMismatchError(f"{CONFIG} asks for images that are not square, or of no size.")
    return Preprocess(
        size,
        *channels(pictures.get("mean", CLIP_MEAN), pictures.get("std", CLIP_STD), CONFIG),
        interpolation=pictures.get("interpolation", "bicubic"),
        fit=pictures.get("resize_mode", "shortest"),
    )
