"""phantomclip: a small dual encoder for phantoms, shipped with the package.

A convolutional stem and a few transformer blocks for images, a byte-level BPE and a small
transformer for sentences, trained by `scripts/train_phantomclip.py`. It runs every path of the
framework offline; its numbers say nothing about medicine.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from medrobust.base.fingerprints import file_fingerprint, fingerprint
from medrobust.exceptions import ConfigurationError, WeightsNotFoundError
from medrobust.types import PixelBatch

from .base import LoadReport, VisionLanguageModel
from .loading import load_strict, read_checkpoint
from .patches import Projection
from .preprocess import Preprocess
from .tokenizer import TextTokenizer, read_tokenizer

Variant: TypeAlias = Literal["base", "small"]

WEIGHTS = Path(__file__).parent / "weights"
TOKENIZER = WEIGHTS / "phantomclip_tokenizer.json"
INITIAL_SCALE = 14.3
RANDOM = LoadReport(source="random weights", files={}, used=0)


def weights_file(variant: Variant) -> Path:
    """Return where the weights of a variant are packaged."""
    return WEIGHTS / f"phantomclip_{variant}.safetensors"


@dataclass(frozen=True, slots=True)
class Architecture:
    """Sizes of one variant.

    Attributes:
        size: Side of the input in pixels.
        stem: Channels after each convolution of the stem.
        strides: Of each convolution of the stem; the first is 7 × 7, the others 3 × 3.
        width: Of the image transformer.
        blocks: Of the image transformer.
        text_width: Of the text transformer.
        text_blocks: Of the text transformer.
        heads: Of both transformers.
        embed: Dimensions of the shared space.
        vocabulary: Entries of the tokenizer.
        context: Longest sentence in tokens.
    """

    size: int
    stem: tuple[int, ...]
    strides: tuple[int, ...]
    width: int
    blocks: int
    text_width: int = 64
    text_blocks: int = 2
    heads: int = 4
    embed: int = 64
    vocabulary: int = 512
    context: int = 32


ARCHITECTURES: dict[Variant, Architecture] = {
    "base": Architecture(224, (24, 32, 64, 96, 128), (4, 1, 2, 2, 2), 128, 3),
    "small": Architecture(112, (24, 32, 48, 64), (4, 1, 2, 2), 64, 2, text_width=48),
}


class Attention(nn.Module):
    """Multi-head self-attention with the four projections apart, so that LoRA can name them."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """Attend over (N, T, width); `mask` (N, 1, 1, T) is true where a token counts."""
        count, length, width = tokens.shape
        split = (count, length, self.heads, width // self.heads)
        query, key, value = (
            projection(tokens).view(split).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        joined: Tensor = self.out_proj(mixed.transpose(1, 2).reshape(count, length, width))
        return joined


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return (N, T, width)."""
        tokens = tokens + self.attention(self.norm_attention(tokens), mask)
        mixed: Tensor = tokens + self.mlp(self.norm_mlp(tokens))
        return mixed


def _stem(sizes: Architecture) -> nn.Sequential:
    layers: list[nn.Module] = []
    before = 3
    for number, (channels, stride) in enumerate(zip(sizes.stem, sizes.strides, strict=True)):
        kernel = 7 if number == 0 else 3
        convolution = nn.Conv2d(before, channels, kernel, stride, kernel // 2, bias=False)
        layers += [convolution, nn.BatchNorm2d(channels), nn.ReLU()]
        before = channels
    return nn.Sequential(*layers, nn.Conv2d(before, sizes.width, 1))


class VisualEncoder(nn.Module):
    """Stem to a 7 × 7 grid of tokens, transformer, mean, projection."""

    def __init__(self, sizes: Architecture) -> None:
        super().__init__()
        self.stem = _stem(sizes)
        self.position = nn.Parameter(0.02 * torch.randn(1, 49, sizes.width))
        self.blocks = nn.ModuleList(Block(sizes.width, sizes.heads) for _ in range(sizes.blocks))
        self.norm = nn.LayerNorm(sizes.width)
        self.projection = nn.Linear(sizes.width, sizes.embed, bias=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return (N, embed) for pixels (N, 3, size, size)."""
        tokens = self.stem(pixels).flatten(2).transpose(1, 2) + self.position
        for block in self.blocks:
            tokens = block(tokens)
        embedded: Tensor = self.projection(self.norm(tokens).mean(dim=1))
        return embedded


class TextEncoder(nn.Module):
    """Token and position embeddings, transformer, mean over the tokens that count, projection."""

    def __init__(self, sizes: Architecture) -> None:
        super().__init__()
        width = sizes.text_width
        self.token = nn.Embedding(sizes.vocabulary, width)
        self.position = nn.Parameter(0.02 * torch.randn(1, sizes.context, width))
        self.blocks = nn.ModuleList(Block(width, sizes.heads) for _ in range(sizes.text_blocks))
        self.norm = nn.LayerNorm(width)
        self.projection = nn.Linear(width, sizes.embed, bias=False)
        nn.init.normal_(self.token.weight, std=0.1)

    def forward(self, ids: Tensor, counts: Tensor) -> Tensor:
        """Return (K, embed) for token ids (K, T); `counts` (K, T) is true where one counts."""
        tokens = self.token(ids) + self.position[:, : ids.shape[1]]
        for block in self.blocks:
            tokens = block(tokens, counts[:, None, None, :])
        weight = counts.unsqueeze(-1).to(tokens.dtype)
        mean = (self.norm(tokens) * weight).sum(dim=1) / weight.sum(dim=1)
        embedded: Tensor = self.projection(mean)
        return embedded


class PhantomCLIP(VisionLanguageModel):
    """The dual encoder, made with random weights.

    Attributes:
        architecture: Sizes of this variant.
        log_logit_scale: Logarithm of the logit scale, trained.
    """

    def __init__(
        self, variant: Variant, tokenizer: TextTokenizer, report: LoadReport = RANDOM
    ) -> None:
        super().__init__()
        self.architecture = ARCHITECTURES[variant]
        self.tokenizer = tokenizer
        self.report = report
        self.visual_encoder = VisualEncoder(self.architecture)
        self.text_encoder = TextEncoder(self.architecture)
        self.log_logit_scale = nn.Parameter(torch.tensor(INITIAL_SCALE).log())
        self.logit_scale = INITIAL_SCALE
        self.preprocess = Preprocess(self.architecture.size, mean=(0.5,) * 3, std=(0.25,) * 3)

    def _image_embedding(self, pixels: PixelBatch) -> Tensor:
        embedded: Tensor = self.visual_encoder(pixels)
        return embedded

    def _patch_projection(self, block: int) -> Projection:
        tower = self.visual_encoder
        return lambda states: tower.projection(tower.norm(states))

    def _text_embedding(self, sentences: Sequence[str]) -> Tensor:
        ids, mask = self.tokenizer(sentences)
        embedded: Tensor = self.text_encoder(ids.to(self.device), mask.to(self.device).bool())
        return embedded


@dataclass
class PhantomClip:
    """A demonstration model, from the weights in the package.

    Attributes:
        name: In tables and in the store.
        variant: "base", or "small": fewer layers and pixels, stopped earlier.
        micro_batch: Images a forward pass.
    """

    name: str = "phantomclip"
    variant: Variant = "base"
    micro_batch: int = 32

    license = "Apache-2.0"

    def __post_init__(self) -> None:
        """Refuse a variant that does not exist."""
        if self.variant not in get_args(Variant):
            raise ConfigurationError(
                f"model.variant={self.variant!r} is none of {get_args(Variant)}."
            )

    def files(self) -> dict[str, Path]:
        """Return the packaged files, name -> path.

        Raises:
            WeightsNotFoundError: If the package is not whole.
        """
        paths = (TOKENIZER, weights_file(self.variant))
        missing = [path.name for path in paths if not path.exists()]
        if missing:
            raise WeightsNotFoundError(
                f"model {self.name!r}: {', '.join(missing)} should be in the package and is not. "
                f"Install medrobust again."
            )
        return {path.name: path for path in paths}

    def weights_fingerprint(self) -> str:
        """Hash weights and tokenizer, without loading them."""
        digests = {name: file_fingerprint(path) for name, path in self.files().items()}
        return fingerprint([self.variant, digests])

    def load(self) -> PhantomCLIP:
        """Build the model and load its weights strictly, on the CPU, in eval mode.

        Raises:
            WeightsNotFoundError: If the package is not whole.
            WeightsMismatchError: If a key is missing, left over or of another shape.
        """
        files = self.files()
        tokenizer, weights = files.values()
        context = ARCHITECTURES[self.variant].context
        with torch.random.fork_rng(devices=[]):  # small: drawing on "meta" imports torch's compiler
            model = PhantomCLIP(self.variant, read_tokenizer(tokenizer, context, "<pad>"))
        loaded = load_strict(model, read_checkpoint(weights), file=weights.name)
        model.report = LoadReport(
            source=f"package:{weights.name}",
            files={name: file_fingerprint(path) for name, path in files.items()},
            used=loaded.used,
            license="Apache-2.0",
        )
        model.logit_scale = float(model.log_logit_scale.detach().exp())
        # Half as fast again on the CPU with channels last.
        model.visual_encoder.to(memory_format=torch.channels_last)
        return model.eval()
