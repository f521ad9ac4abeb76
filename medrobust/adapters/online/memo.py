"""MEMO and TPT: one image alone is learned from, by the entropy of what its views say together.

With p the mean of the probabilities of views (see `views`), both go down the entropy of p:

    memo   all weights of the image side, by all views, with batch normalisation by
           (N mu_s + mu_b) / (N + 1) (N = 16; no gradient passes the statistics, and the variance
           of the views is the biased one); the image itself is answered by the changed weights, its
           own statistics mixed in likewise
    tpt    the vectors of the first words that the sentences of all classes share, by the `share` of
           the views of lowest entropy; the image itself is answered by the changed class texts

Everything begins anew with every image. Of several sentences of a class tpt reads the first. Views
are crops in place of AugMix. Sources: Zhang et al., arXiv:2110.09506 (`zhangmarvin/memo`); Shu et
al., arXiv:2209.07511 (`azshue/TPT`).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from medrobust.adapters.base import visual_tower
from medrobust.exceptions import ConfigurationError
from medrobust.types import FeatureBatch, LogitBatch, UInt8Batch

from .adapting import Scene, entropies
from .base import Needs, check
from .batch_norm import check_share
from .lent import copies, descend, lent, of_micro_batch, statistics_of
from .views import FromViews, ViewSession


@dataclass(frozen=True, slots=True)
class Memo(FromViews):
    """Goes down the entropy of the mean answer in all weights.

    Args:
        rate: Length of a step.
        steps: For each image; 0, with `prior: .inf`: the model itself, to the bit.
        prior: N, images that the statistics of training stand for.
    """

    views: int = 32
    rate: float = 2.5e-4
    steps: int = 1
    prior: float = 16.0

    method: ClassVar[str] = "memo"

    def __post_init__(self) -> None:
        """Refuse what is no step.

        Raises:
            ConfigurationError: Naming the key.
        """
        FromViews.__post_init__(self)
        check("memo", "rate", self.rate, low=0)
        check("memo", "steps", self.steps, low=0, whole=True)
        if type(self.prior) not in (int, float) or not self.prior >= 0:
            raise ConfigurationError(
                f"adapter.online: prior={self.prior} of memo must be a number of images, or .inf."
            )

    @property
    def idle(self) -> bool:
        """Without a step and without statistics of images."""
        return (self.steps == 0 or self.rate == 0) and self.prior == float("inf")

    def begin(self, scene: Scene) -> "MemoSession":
        """Begin with a cell."""
        return MemoSession(self, scene)


class MemoSession(ViewSession):
    """MEMO."""

    method: Memo

    def __init__(self, method: Memo, scene: Scene) -> None:
        super().__init__(method, scene)
        tower = visual_tower(scene.model)
        self._own = {
            name: weight.detach()
            for name, weight in scene.model.named_parameters()
            if name.startswith(tower)
        }
        self._training = statistics_of(scene.model)
        self._share = 1 / (1 + method.prior)

    def _statistics(self, name: str, values: Tensor) -> tuple[Tensor, Tensor]:
        own, new = self._training[name], of_micro_batch(name, values.detach())
        mean, variance = (
            (1 - self._share) * a + self._share * b for a, b in zip(own, new, strict=True)
        )
        return mean, variance

    def answer(self, views: UInt8Batch) -> Tensor:
        """Learn of all views, then answer the image itself."""
        model = self.scene.model
        pixels, weights = model.preprocess(views), copies(self._own)
        optimizer = torch.optim.SGD(weights.values(), lr=self.method.rate)
        with lent(model, weights, self._statistics):
            for _ in range(self.method.steps):
                logits = self.scene.head.logits(model.encode_image(pixels))
                descend(joint_entropy(logits), weights, optimizer)
            with torch.no_grad():
                answer: Tensor = self.scene.head.logits(model.encode_image(pixels[:1]))[0]
        return answer


@dataclass(frozen=True, slots=True)
class TPT(FromViews):
    """Goes down the entropy of the mean answer of sure views in the first words of class texts.

    Args:
        share: Of the views, the surest, at least one.
        tokens: How many words at most.
        rate: Length of a step.
        steps: For each image; 0: the model itself, to the bit.
    """

    share: float = 0.1
    tokens: int = 4
    rate: float = 5e-3
    steps: int = 1

    method: ClassVar[str] = "tpt"
    needs: ClassVar[Needs] = "images and sentences"

    def __post_init__(self) -> None:
        """Refuse what is no step.

        Raises:
            ConfigurationError: Naming the key.
        """
        FromViews.__post_init__(self)
        check_share("tpt", "share", self.share)
        check("tpt", "tokens", self.tokens, low=1, whole=True)
        check("tpt", "rate", self.rate, low=0)
        check("tpt", "steps", self.steps, low=0, whole=True)

    @property
    def idle(self) -> bool:
        """Without a step."""
        return self.steps == 0 or self.rate == 0

    def begin(self, scene: Scene) -> "TptSession":
        """Begin with a cell.

        Raises:
            ConfigurationError: If the sentences of the classes share no first word.
        """
        return TptSession(self, scene)


class TptSession(ViewSession):
    """TPT."""

    method: TPT

    def __init__(self, method: TPT, scene: Scene) -> None:
        super().__init__(method, scene)
        self._prompts = Prompts(scene.model, [texts[0] for texts in scene.texts], method.tokens)

    def answer(self, views: UInt8Batch) -> Tensor:
        """Learn of sure views, then answer the image itself."""
        features, scale = self.features(views), self.scene.head.logit_scale
        words = nn.Parameter(self._prompts.words.clone())
        optimizer = torch.optim.AdamW([words], lr=self.method.rate)
        chosen: Tensor | None = None
        for _ in range(self.method.steps):
            logits = scale * features @ self._prompts.texts(words).T
            if chosen is None:
                count = max(1, int(len(logits) * self.method.share))
                chosen = entropies(logits).argsort(stable=True)[:count]
            descend(joint_entropy(logits[chosen]), {"words": words}, optimizer)
        with torch.no_grad():
            answer: Tensor = (scale * features[:1] @ self._prompts.texts(words).T)[0]
        return answer


class Prompts:
    """Class texts whose first words are vectors that can be changed.

    Args:
        model: With a text side.
        sentences: One a class.
        tokens: How many words at most.

    Attributes:
        words: The vectors of the words that all sentences share, (tokens, width).
    """

    def __init__(self, model: Any, sentences: Sequence[str], tokens: int) -> None:
        self._model, self._sentences = model, list(sentences)
        self._layer = _token_layer(model)
        seen = self._read(self._sentences)
        first = self._read(["dog", "x-ray"])
        begin = int(bool((first[0][0] == first[1][0]).all()))  # a mark at which sentences begin
        shared = 0
        for place in range(begin, min(len(one) for one in seen)):
            if not all(torch.equal(one[place], seen[0][place]) for one in seen):
                break
            shared += 1
        shared = min(shared, tokens)
        if not shared or len(seen) < 2:
            raise ConfigurationError(
                f"adapter.online=tpt tunes the first words that the sentences of all classes "
                f"share, and {sentences[0]!r} and {sentences[-1]!r} share none: take prompts=clip."
            )
        self._places = slice(begin, begin + shared)
        self.words: Tensor = seen[0][self._places].detach()

    def texts(self, words: Tensor) -> FeatureBatch:
        """Return class texts of unit norm, (K, D), with other first words; gradients pass."""

        def put(layer: nn.Module, given: Any, found: Tensor) -> Tensor:
            before, after = found[:, : self._places.start], found[:, self._places.stop :]
            return torch.cat([before, words.expand(len(found), -1, -1), after], dim=1)

        with _heard(self._layer, put):
            return functional.normalize(self._model.embed_text(self._sentences), dim=1)

    def _read(self, sentences: Sequence[str]) -> list[Tensor]:
        """Return the vectors of the words of each sentence, (T, width)."""
        read: list[Tensor] = []

        def keep(layer: nn.Module, given: Any, found: Tensor) -> None:
            read.extend(found.detach())

        with torch.no_grad(), _heard(self._layer, keep):
            self._model.embed_text(list(sentences))
        return read


@contextmanager
def _heard(layer: nn.Module, hook: Any) -> Iterator[None]:
    handle = layer.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _token_layer(model: Any) -> nn.Embedding:
    """Return the layer of the text side that gives each word its vector: the longest one.

    Raises:
        ConfigurationError: If there is none.
    """
    tower = visual_tower(model)
    layers = [
        module
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding) and not f"{name}.".startswith(tower)
    ]
    if not layers:
        raise ConfigurationError(
            f"adapter.online=tpt needs a text side that gives words vectors, and "
            f"{type(model).__name__} has none: choose zero or memo."
        )
    return max(layers, key=lambda layer: layer.num_embeddings)


def joint_entropy(logits: LogitBatch) -> Tensor:
    """Return the entropy of the mean of the probabilities of views, in nats; gradients pass.

    Example:
        >>> joint_entropy(torch.tensor([[99.0, 0], [0, 99.0]])).round(decimals=3).item() < 0.694
        True
    """
    chances = logits.log_softmax(dim=1)
    mean = chances.logsumexp(dim=0) - torch.log(torch.tensor(float(len(logits))))
    return -(mean.exp() * mean).sum()
