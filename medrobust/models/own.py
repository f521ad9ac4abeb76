"""A user's own module, wrapped so that it runs through the same pipeline as a published model."""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from medrobust.base.fingerprints import fingerprint
from medrobust.base.reasons import place_of, reason_of
from medrobust.base.wording import counted, listed
from medrobust.exceptions import ConfigurationError
from medrobust.types import LogitBatch, PixelBatch

from .base import ImagePreprocess, LoadReport, VisionLanguageModel
from .preprocess import Preprocess

PLAIN = (bool, int, float, str, tuple, type(None))


def module_fingerprint(module: nn.Module) -> str:
    """Hash structure and state of a module: 64 hexadecimal digits.

    Parameters and all buffers count by name, dtype, shape and bytes; of each submodule also the
    attributes that are plain numbers, text or tuples, `training` excepted. Code does not count.
    """
    digest = hashlib.sha256(repr(module).encode())
    for name, part in module.named_modules():
        plain = {
            key: value
            for key, value in vars(part).items()
            if not key.startswith("_") and key != "training" and isinstance(value, PLAIN)
        }
        digest.update(f"{name} {type(part).__qualname__} {sorted(plain.items())}\n".encode())
    tensors = [*module.named_parameters(), *module.named_buffers()]
    for name, value in sorted(tensors, key=lambda pair: pair[0]):
        tensor = value.detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


@contextmanager
def _errors_named(module: Any, pixels: Tensor) -> Iterator[None]:
    """Say of a module that torch stops for the dtypes within it which they are, in one sentence.

    Raises:
        ConfigurationError: With the dtype of its weights and that of the pixels; or where it lets
            StopIteration out, which would pass for the end of the images.
    """
    try:
        yield
    except StopIteration as error:  # it would end the loop over the images
        raise ConfigurationError(
            f"this module ended with StopIteration{place_of(error)}: an iterator within it gave "
            f"nothing."
        ) from error
    except RuntimeError as error:
        found = {p.dtype for p in getattr(module, "parameters", tuple)() if p.is_floating_point()}
        if found <= {pixels.dtype} or not re.search("dtype|scalar type|Input type", str(error)):
            raise
        kinds = listed(sorted(str(kind).removeprefix("torch.") for kind in found))
        raise ConfigurationError(
            f"the weights of this module are {kinds}, and pixels come as "
            f"{str(pixels.dtype).removeprefix('torch.')} ({reason_of(error)}): pass "
            f"module.float(), or cast within its forward."
        ) from error


class Classifier(nn.Module):
    """A classifier without a text side: its features are its logits, its head is the identity.

    Attributes:
        preprocess: From uint8 to what the module takes.
        logit_scale: 1: the logits are used as they come.
        report: Says that nothing was loaded.
    """

    preprocess: ImagePreprocess
    logit_scale: float
    report: LoadReport

    def __init__(self, module: nn.Module, preprocess: ImagePreprocess, report: LoadReport) -> None:
        super().__init__()
        self.module = module
        self.preprocess = preprocess
        self.report = report
        self.logit_scale = 1.0

    def encode_image(self, pixels: PixelBatch) -> LogitBatch:
        """Return float32 (N, K) logits.

        Raises:
            ConfigurationError: If the module returns anything but one row of reals an image.
        """
        with _errors_named(self.module, pixels):
            logits = self.module(pixels)
        if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(pixels):
            found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ConfigurationError(
                f"a classifier must return logits ({len(pixels)}, K) for "
                f"{counted(len(pixels), 'image')}, this one returned {found}."
            )
        if logits.is_complex():
            raise ConfigurationError(
                "a classifier must return real logits, this one returned complex numbers."
            )
        return logits.float()

    @property
    def device(self) -> torch.device:
        """Where the parameters are; the CPU where there are none."""
        return next((parameter.device for parameter in self.parameters()), torch.device("cpu"))


class _DualEncoder(VisionLanguageModel):
    """A user's object with `encode_image` and `encode_text`."""

    def __init__(
        self, encoder: Any, preprocess: ImagePreprocess, logit_scale: float, report: LoadReport
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.preprocess = preprocess
        self.logit_scale = logit_scale
        self.report = report

    def _image_embedding(self, pixels: PixelBatch) -> Tensor:
        with _errors_named(self.encoder, pixels):
            embedding: Tensor = self.encoder.encode_image(pixels)
        return embedding

    def _text_embedding(self, sentences: Sequence[str]) -> Tensor:
        embedding: Tensor = self.encoder.encode_text(list(sentences))
        return embedding

    def _image_side(self) -> nn.Module:
        visual = getattr(self.encoder, "visual", None)
        if not isinstance(visual, nn.Module):
            raise ConfigurationError(
                f"{type(self.encoder).__name__} has no patch features: keep its image side in a "
                f"submodule called `visual`, so that its blocks can be told from those for texts."
            )
        return visual

    @property
    def device(self) -> torch.device:
        return next((parameter.device for parameter in self.parameters()), torch.device("cpu"))


def no_scaling() -> ImagePreprocess:
    """Return three channels in [0, 1] at the stored size."""
    return Preprocess(size=None, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


@dataclass
class OwnModel:
    """The source of a user's own model (`medrobust.models.base.ModelSource`).

    Attributes:
        module: A classifier, `module(pixels) -> (N, K)` logits, or an object with
            `encode_image(pixels) -> (N, D)` and `encode_text(list of str) -> (K, D)`.
        name: In tables and in the store.
        preprocess: From uint8 (N, 1 or 3, H, W) to pixels; by default three channels in [0, 1] at
            the stored size.
        logit_scale: Multiplier of the cosine of a dual encoder; its own attribute `logit_scale` if
            that is a plain number. (Libraries that store the logarithm keep it as a parameter.)
        micro_batch: Images a forward pass.
    """

    module: Any
    name: str = "own"
    preprocess: ImagePreprocess = field(default_factory=no_scaling)
    logit_scale: float | None = None
    micro_batch: int = 32
    _fingerprint: str | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse what is neither a classifier nor a dual encoder."""
        if not isinstance(self.module, nn.Module) and not self._is_dual:
            raise ConfigurationError(
                f"{type(self.module).__name__} is neither a torch module nor an object with "
                "encode_image and encode_text."
            )

    @property
    def _is_dual(self) -> bool:
        methods: list[Callable[..., Any] | None] = [
            getattr(self.module, name, None) for name in ("encode_image", "encode_text")
        ]
        return all(callable(method) for method in methods)

    def weights_fingerprint(self) -> str:
        """SHA-256 over structure and state of the module, and its logit scale.

        Computed once, since every cell asks for it: a changed module needs a new source.

        Raises:
            ConfigurationError: If the object is no torch module, whose state cannot be read, or
                its weights have no values.
        """
        if not isinstance(self.module, nn.Module):
            raise ConfigurationError(
                f"{type(self.module).__name__} is no torch module, so its weights cannot be told "
                "from other weights. Make it an nn.Module that holds its encoders."
            )
        if any(value.is_meta for value in (*self.module.parameters(), *self.module.buffers())):
            raise ConfigurationError(
                f"{type(self.module).__name__} has weights on the device `meta`, which hold no "
                f"values: load them first."
            )
        if self._fingerprint is None:
            scale = self._scale() if self._is_dual else 1.0
            self._fingerprint = fingerprint([module_fingerprint(self.module), scale])
        return self._fingerprint

    def load(self) -> VisionLanguageModel | Classifier:
        """Wrap a copy of the module in eval mode: the user's own stays as it is."""
        report = LoadReport(source="own", files={}, used=0)
        module = deepcopy(self.module)
        if not self._is_dual:
            return Classifier(module, self.preprocess, report).eval()
        return _DualEncoder(module, self.preprocess, self._scale(), report).eval()

    def _scale(self) -> float:
        scale = self.logit_scale
        if scale is None:
            scale = getattr(self.module, "logit_scale", None)
        if not isinstance(scale, int | float):
            raise ConfigurationError(
                "the logit scale of an own dual encoder must be a number, the multiplier itself "
                f"(not its logarithm), and is {type(scale).__name__}. Pass logit_scale=..."
            )
        return float(scale)
