"""BATCLIP, CLIPArTT and WATT: scale and shift go down losses that class texts take part in.

z are unit image features of a micro-batch, e the same before they are brought to unit norm, t unit
texts, s the logit scale, and each image is of the class that it is predicted to be.

    batclip    normalisation of both towers, one step a micro-batch down
                   mean H - mean_k <mean of e of class k, t_k> - sum_{k != l} (1 - cos(m_k, m_l))
               over the classes that are predicted, m_k the mean of e of class k. The second term
               has no bound, for e has none. The pass before the step answers.
    clipartt   normalisation of the image side, `steps` down
                   mean_i sum_j -T_ji log softmax_j(s z_i . t_j)
               with T = softmax((z z' + t t') / 2 / .01) row by row and t_j the text "A or B or C"
               of the `classes` likeliest ones of image j; gradients pass T, as in the public code.
               The changed model answers.
    watt       the same with the text of the likeliest class alone, `steps` for each of eight
               templates one after the other, then the mean of the weights behind each of them;
               `rounds` of that. The changed model answers, by the mean text over the templates.
               With `parallel` each template begins from the weights that a round begins with, in
               the first round with an optimizer of its own, as in the public code.

clipartt and watt begin anew with every micro-batch. What stands for A, B and C is what the first
sentences of the classes differ by, word by word; watt puts it into its own templates. Sources:
Maharana et al., arXiv:2410.22592 (`sarthaxxxxx/BATCLIP`); Hakim et al., arXiv:2405.00754
(`dosowiechi/CLIPArTT`); Osowiechi et al., arXiv:2406.13875 (`Mehrdad-Noori/WATT`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from medrobust.exceptions import ConfigurationError
from medrobust.models.encoding import images_that_count
from medrobust.models.zero_shot import class_features
from medrobust.types import FeatureBatch, Int64Array, LogitBatch, PixelBatch, UInt8Batch

from .adapting import Scene, answered, entropies
from .base import Begins, Needs, check
from .entropy import Descent, Optimizer, TentSession
from .lent import descend, lent, norm_weights

SHARPNESS = 0.01
"""Of the targets of clipartt and watt."""

TEMPLATES = (
    "a photo of a {}",
    "itap of a {}",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
)


@dataclass(frozen=True, slots=True)
class BatClip(Descent):
    """Moves both towers, so that predicted classes lie near their texts and apart.

    Args:
        decay: Of weights, for each step a share of its length.
    """

    rate: float = 5e-4
    decay: float = 0.01

    method: ClassVar[str] = "batclip"
    needs: ClassVar[Needs] = "images and sentences"

    def __post_init__(self) -> None:
        """Refuse what is no step.

        Raises:
            ConfigurationError: Naming the key.
        """
        Descent.__post_init__(self)
        check("batclip", "decay", self.decay, low=0)
        if self.optimizer != "sgd":
            raise ConfigurationError(
                "adapter.online: batclip has an optimizer of its own, AdamW: leave it out."
            )

    def optimizer_of(self, weights: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
        """Return what takes steps in weights of a session."""
        return torch.optim.AdamW(weights.values(), lr=self.rate, weight_decay=self.decay)

    def begin(self, scene: Scene) -> "BatClipSession":
        """Begin with a cell."""
        return BatClipSession(self, scene)


class BatClipSession(TentSession):
    """BATCLIP."""

    def __init__(self, method: BatClip, scene: Scene) -> None:
        super().__init__(method, scene, norm_weights(scene.model, ("",)))

    def observe(self, images: UInt8Batch, index: Int64Array) -> LogitBatch:
        """Answer, then go down."""
        if self.method.idle:
            with torch.no_grad():
                return answered(self.scene, self.scene.model.preprocess(images))
        return super().observe(images, index)

    def step(self, pixels: PixelBatch) -> LogitBatch:
        """Take one step; return the answers before it."""
        embedded = self.scene.model.embed_image(pixels)[: images_that_count(len(pixels))]
        texts = texts_of(self.scene.model, self.scene.texts)
        scale = self.scene.head.logit_scale
        logits: LogitBatch = scale * functional.normalize(embedded, dim=1) @ texts.T
        descend(together(logits, embedded, texts), self.weights, self._optimizer)
        return logits


def texts_of(model: Any, texts: Sequence[Sequence[str]]) -> FeatureBatch:
    """Return class texts as `class_features` does, (K, D), but let gradients pass."""
    every = [sentence for group in texts for sentence in group]
    features = functional.normalize(model.embed_text(every), dim=1)
    ends = list(accumulate(len(group) for group in texts))
    parts = [features[end - len(group) : end] for group, end in zip(texts, ends, strict=True)]
    return functional.normalize(torch.stack([part.mean(dim=0) for part in parts]), dim=1)


def together(logits: LogitBatch, embedded: Tensor, texts: FeatureBatch) -> Tensor:
    """Return the loss of batclip.

    Args:
        logits: (n, K).
        embedded: Image features as they are, (n, D).
        texts: (K, D) of unit norm.
    """
    labels = logits.argmax(dim=1)
    there = sorted(set(labels.tolist()))
    means = torch.stack([embedded[labels == label].mean(dim=0) for label in there])
    near = (means * texts[there]).sum(dim=1).mean()
    units = functional.normalize(means, dim=1)
    apart = (1 - units @ units.T).fill_diagonal_(0).sum()
    return entropies(logits).mean() - near - apart


@dataclass(frozen=True, slots=True)
class ClipArtt(Descent):
    """Moves images towards texts of the classes that they may be of.

    Args:
        classes: How many a text names, at most all.
    """

    protocol: Begins = "episodic"
    rate: float = 1e-3
    steps: int = 10
    optimizer: Optimizer = "adam"
    classes: int = 3

    method: ClassVar[str] = "clipartt"
    needs: ClassVar[Needs] = "images and sentences"
    protocols: ClassVar[tuple[Begins, ...]] = ("episodic", "per_cell")

    def __post_init__(self) -> None:
        """Refuse what is no number.

        Raises:
            ConfigurationError: Naming the key.
        """
        Descent.__post_init__(self)
        check("clipartt", "classes", self.classes, low=1, whole=True)

    def begin(self, scene: Scene) -> "ClipArttSession":
        """Begin with a cell."""
        return ClipArttSession(self, scene)


class PairedSession(TentSession):
    """What clipartt and watt share: their loss of a micro-batch of one image is 0.

    Args:
        method: Its parameters.
        scene: Of the cell.
    """

    def __init__(self, method: Descent, scene: Scene) -> None:
        super().__init__(method, scene)
        self.learned = 0 if method.steps and method.rate else None

    def count(self, images: UInt8Batch) -> None:
        """Count a micro-batch that something is learned of."""
        if self.learned is not None and images_that_count(len(images)) > 1:
            self.learned += 1


class ClipArttSession(PairedSession):
    """CLIPArTT.

    Args:
        method: Its parameters.
        scene: Of the cell.
    """

    def __init__(self, method: ClipArtt, scene: Scene) -> None:
        self._classes = method.classes
        super().__init__(method, scene)
        self._sentences = Sentences([group[0] for group in scene.texts])

    def observe(self, images: UInt8Batch, index: Int64Array) -> LogitBatch:
        """Go down, then answer."""
        self.count(images)
        pixels = self.scene.model.preprocess(images)
        with lent(self.scene.model, self.weights, self._statistics):
            for _ in range(self.method.steps):
                self.step(pixels)
            with torch.no_grad():
                return answered(self.scene, pixels)

    def step(self, pixels: PixelBatch) -> LogitBatch:
        """Take one step; return the answers before it."""
        images = self.scene.model.encode_image(pixels)[: images_that_count(len(pixels))]
        logits: LogitBatch = self.scene.head.logits(images.detach())
        likeliest = logits.topk(min(self._classes, logits.shape[1]), dim=1).indices
        named = [self._sentences.any_of(row) for row in likeliest.tolist()]
        texts = self.scene.model.encode_text(named)
        loss = paired(images, texts, self.scene.head.logit_scale)
        descend(loss, self.weights, self._optimizer)
        return logits


class Sentences:
    """Sentences of classes, and what of them is the class.

    Args:
        of_classes: One a class.

    Attributes:
        names: What each has of its own.
    """

    def __init__(self, of_classes: Sequence[str]) -> None:
        words = [sentence.split() for sentence in of_classes]
        least = min(map(len, words)) - 1
        before = _equal(words, least)
        behind = _equal([one[::-1] for one in words], least - before)
        self._before, end = " ".join(words[0][:before]), len(words[0]) - behind
        self._behind = " ".join(words[0][end:])
        self.names = [" ".join(one[before : len(one) - behind]) for one in words]

    def any_of(self, classes: Sequence[int]) -> str:
        """Return a sentence that names several classes.

        Example:
            >>> Sentences(["a photo of a cat", "a photo of a red dog"]).any_of([1, 0])
            'a photo of a red dog or cat'
        """
        named = " or ".join(self.names[label] for label in classes)
        return " ".join(part for part in (self._before, named, self._behind) if part)


def _equal(words: Sequence[Sequence[str]], most: int) -> int:
    """Return how many first words all have in common."""
    for place in range(max(most, 0)):
        if len({one[place] for one in words}) > 1:
            return place
    return max(most, 0)


def paired(images: FeatureBatch, texts: FeatureBatch, scale: float) -> Tensor:
    """Return the loss of clipartt and watt: each image against the texts of all of them.

    Args:
        images: Unit features (n, D).
        texts: Unit features of a text for each image, (n, D).
        scale: From a cosine to a logit.
    """
    alike = (images @ images.T + texts @ texts.T) / 2
    targets = (alike / SHARPNESS).softmax(dim=1)
    chances = (scale * images @ texts.T).log_softmax(dim=1)
    return -(targets.T * chances).sum(dim=1).mean()


@dataclass(frozen=True, slots=True)
class Watt(Descent):
    """Averages weights over templates.

    Args:
        rounds: How often weights are averaged.
        templates: Sentences, `{}` where the class stands.
        parallel: Templates begin alike, not one where the other has ended.
    """

    protocol: Begins = "episodic"
    rate: float = 1e-4
    steps: int = 2
    optimizer: Optimizer = "adam"
    rounds: int = 5
    templates: tuple[str, ...] = TEMPLATES
    parallel: bool = False

    later: ClassVar[Mapping[str, Any]] = {"parallel": False}
    method: ClassVar[str] = "watt"
    needs: ClassVar[Needs] = "images and sentences"
    protocols: ClassVar[tuple[Begins, ...]] = ("episodic", "per_cell")

    def __post_init__(self) -> None:
        """Refuse what is no number, and templates without a class.

        Raises:
            ConfigurationError: Naming the key.
        """
        Descent.__post_init__(self)
        check("watt", "rounds", self.rounds, low=1, whole=True)
        wrong = [one for one in self.templates if one.count("{}") != 1 or set(_rest(one)) & {*"{}"}]
        if not self.templates or wrong:
            which = f", and {wrong[0]!r} has not" if wrong else ", and there are none"
            raise ConfigurationError(
                f"adapter.online: each of the templates of watt has one {{}}, where the class "
                f"stands, and no other braces{which}."
            )

    def begin(self, scene: Scene) -> "WattSession":
        """Begin with a cell; texts of templates are encoded once for all of them."""
        key = f"watt {self.templates}"
        if key not in scene.kept:
            names = Sentences([group[0] for group in scene.texts]).names
            scene.kept[key] = [
                class_features(scene.model, [[one.replace("{}", name)] for name in names])
                for one in self.templates
            ]
        return WattSession(self, scene, scene.kept[key])


def _rest(template: str) -> str:
    """Return what stays of a template without the place of the class."""
    return template.replace("{}", "", 1)


class WattSession(PairedSession):
    """WATT.

    Args:
        method: Its parameters.
        scene: Of the cell.
        texts: Class texts of each template, (K, D).
    """

    def __init__(self, method: Watt, scene: Scene, texts: Sequence[FeatureBatch]) -> None:
        self._rounds, self._texts, self._parallel = method.rounds, texts, method.parallel
        self._mean = functional.normalize(torch.stack(list(texts)).mean(dim=0), dim=1)
        super().__init__(method, scene)

    def observe(self, images: UInt8Batch, index: Int64Array) -> LogitBatch:
        """Go down, then answer."""
        if self.method.idle:
            with torch.no_grad():
                return answered(self.scene, self.scene.model.preprocess(images))
        self.count(images)
        pixels = self.scene.model.preprocess(images)
        with lent(self.scene.model, self.weights, self._statistics):
            for number in range(self._rounds):
                self._round(pixels, first=number == 0)
            with torch.no_grad():
                return self._answers(pixels, self._mean)[1]

    def _round(self, pixels: PixelBatch, *, first: bool) -> None:
        """Go down by each template, one after the other, and take the mean of the weights."""
        sums = {name: torch.zeros_like(weight) for name, weight in self.weights.items()}
        start = {name: weight.detach().clone() for name, weight in self.weights.items()}
        for texts in self._texts:
            if self._parallel:
                self._go_back(start, first=first)
            for _ in range(self.method.steps):
                images, logits = self._answers(pixels, texts)
                own = texts[logits.detach().argmax(dim=1)]
                loss = paired(images, own, self.scene.head.logit_scale)
                descend(loss, self.weights, self._optimizer)
            for name, weight in self.weights.items():
                sums[name] += weight.detach()
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(sums[name] / len(self._texts))

    def _go_back(self, start: Mapping[str, Tensor], *, first: bool) -> None:
        """Take the weights that a round begins with, in the first one without momentum."""
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(start[name])
        if first:
            self._optimizer = self.method.optimizer_of(self.weights)

    def _answers(self, pixels: PixelBatch, texts: FeatureBatch) -> tuple[FeatureBatch, LogitBatch]:
        images = self.scene.model.encode_image(pixels)[: images_that_count(len(pixels))]
        return images, self.scene.head.logit_scale * images @ texts.T
