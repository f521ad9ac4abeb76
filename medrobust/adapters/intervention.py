"""Back-door adjustment over a dictionary of confounders, behind the image side of a dual encoder.

Of an embedding x, of an image or of one of its places, with a dictionary of directions d,

    x' = x + |x| sum_d g_d (P(d) - alpha_d(x)) d,    alpha(x) = softmax_d(s x . d / |x|):

what attention finds of each confounder in x is taken away, and what the training images have of it
on average is put in its place. P(d) is the mean of alpha_d over places of the training images, so
that with all strengths g_d = 1 their mean stays where it was; g_d begin at 0, where x' is x to the
bit, and are tuned with the sharpness s by what the task loses. An empty dictionary leaves x alone.

The dictionary has two sources: differences of the texts of nuisances ("a blurred ...") and a plain
text, and centres of clusters, less their mean, of places of training images that are no candidates
for a lesion by its text. Its order changes no number.

This is our reading of the abstract of MCDRL (arXiv:2508.05008), which has no published code: text
prompts for candidate regions, a dictionary of confounders, and an adjustment over it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from medrobust.base.wording import counted
from medrobust.exceptions import ConfigurationError, WeightsMismatchError

from .base import check_keys
from .lora import CONFIG, WEIGHTS
from .nuisance_projection import reading_sentences
from .online.nuisance import TEXTS

KIND = "intervention"

CANDIDATES = 0.25
"""Share of the places of training images, those most like a lesion, that no cluster is made of."""

ROUNDS = 10
"""Of k-means, from first centres that are each as far as can be from those before."""


class Intervention(nn.Module):
    """The adjustment of embeddings.

    Attributes:
        dictionary: float32 (K, E), one confounder a row, in canonical order.
        prior: float32 (K,), P(d).
        strengths: float32 (K,), g_d.
        sharpness: float32 (), s.
    """

    dictionary: Tensor
    prior: Tensor

    def __init__(self, dictionary: Tensor, sharpness: float) -> None:
        super().__init__()
        rows = canonical(dictionary)
        self.register_buffer("dictionary", rows)
        self.register_buffer("prior", torch.full((len(rows),), 1 / max(1, len(rows))))
        self.strengths = nn.Parameter(torch.zeros(len(rows)))
        self.sharpness = nn.Parameter(torch.tensor(float(sharpness)))

    def attention(self, embedded: Tensor) -> Tensor:
        """Return alpha (..., K) of embeddings (..., E): they sum to 1."""
        unit = functional.normalize(embedded, dim=-1)
        found: Tensor = (self.sharpness * unit @ self.dictionary.T).softmax(dim=-1)
        return found

    def forward(self, embedded: Tensor) -> Tensor:
        """Return x' (..., E), float32."""
        if not len(self.dictionary):
            return embedded
        away = (self.prior - self.attention(embedded)) * self.strengths
        moved: Tensor = embedded + embedded.norm(dim=-1, keepdim=True) * (away @ self.dictionary)
        return moved


def canonical(dictionary: Tensor) -> Tensor:
    """Return the rows of a dictionary (K, E) in the order of their numbers, first to last.

    Example:
        >>> canonical(torch.tensor([[2.0, 1.0], [1.0, 5.0], [1.0, 3.0]])).tolist()
        [[1.0, 3.0], [1.0, 5.0], [2.0, 1.0]]
    """
    order = sorted(range(len(dictionary)), key=lambda row: dictionary[row].tolist())
    return dictionary[order].clone()


def clustered(places: Tensor, count: int) -> Tensor:
    """Return the centres of clusters of unit vectors (P, E), less the mean of all: (count, E).

    Raises:
        ConfigurationError: If there are fewer places than clusters.
    """
    if len(places) < count:
        raise ConfigurationError(
            f"adapter.clusters={count}: the training images have {counted(len(places), 'place')} "
            f"that are no candidates for a lesion. Ask for fewer clusters."
        )
    mean = places.mean(dim=0)
    distances = ((places - mean) ** 2).sum(dim=1)
    centres: list[Tensor] = []
    for _ in range(count):
        centres.append(places[int(distances.argmax())])
        distances = torch.minimum(distances, ((places - centres[-1]) ** 2).sum(dim=1))
    found = torch.stack(centres)
    for _ in range(ROUNDS):
        nearest = torch.cdist(places, found).argmin(dim=1)
        found = torch.stack(
            [
                places[nearest == k].mean(dim=0) if bool((nearest == k).any()) else found[k]
                for k in range(count)
            ]
        )
    return found - mean


@dataclass(frozen=True, slots=True)
class Intervene:
    """Tunes how strongly confounders are adjusted for; nothing else of the model changes.

    Args:
        name: In tables and in the store.
        texts: Of nuisances, `{modality}` where that stands; they may be empty.
        plain: What they are compared with.
        lesion: Text of candidate regions.
        modality: What images are called in these texts.
        clusters: Of places of training images; 0: none.
        sharpness: Of attention, to begin with.
    """

    needs_tuning: ClassVar[bool] = True
    trains_head: ClassVar[bool] = False

    name: str = KIND
    texts: Sequence[str] = TEXTS
    plain: str = "a {modality}"
    lesion: str = "a lesion in a {modality}"
    modality: str = "medical image"
    clusters: int = 8
    sharpness: float = 10.0

    def __post_init__(self) -> None:
        """Refuse numbers that no adjustment can have.

        Raises:
            ConfigurationError: Naming the key.
        """
        if self.clusters < 0 or not 0 < self.sharpness < float("inf"):
            raise ConfigurationError(
                f"adapter.clusters={self.clusters} must be at least 0, and adapter.sharpness="
                f"{self.sharpness} a number above 0."
            )
        if not self.texts and not self.clusters:
            raise ConfigurationError(
                "adapter=intervention has an empty dictionary, by which nothing is adjusted: name "
                "adapter.texts, or ask for adapter.clusters."
            )

    def description(self) -> dict[str, Any]:
        """Return what decides the adapter; the name does not."""
        return {
            "kind": KIND,
            "texts": list(self.texts),
            "plain": self.plain,
            "lesion": self.lesion,
            "modality": self.modality,
            "clusters": self.clusters,
            "sharpness": float(self.sharpness),
        }

    @torch.no_grad()
    def attach(self, model: nn.Module, *, seed: int = 0) -> tuple[str, ...]:
        """Put the adjustment behind the image side, with the dictionary of the texts.

        Raises:
            ConfigurationError: If the model reads no sentences.
        """
        own = reading_sentences(model, KIND)
        own.eval().requires_grad_(False)
        *nuisances, plain = own.encode_text([self._said(one) for one in (*self.texts, self.plain)])
        differences = [one - plain for one in nuisances]
        own.adjusts = Intervention(
            torch.stack(differences) if differences else torch.zeros(0, len(plain)), self.sharpness
        ).to(own.device)
        own.eval()
        return ("adjusts",)

    def _said(self, text: str) -> str:
        return text.replace("{modality}", self.modality)

    @torch.no_grad()
    def look(self, model: nn.Module, images: Iterable[Tensor]) -> None:
        """Complete the dictionary by clusters of places of training images, and count P(d).

        Args:
            model: To which it is attached.
            images: Batches, uint8 (n, C, H, W).
        """
        own = reading_sentences(model, KIND)
        before = own.adjusts
        assert isinstance(before, Intervention)
        lesion, plain = own.encode_text([self._said(one) for one in (self.lesion, self.plain)])
        parts = []
        for batch in images:
            pixels = own.preprocess(batch.to(own.device))
            level = own.encode_patches(pixels, [own.patch_blocks])[own.patch_blocks]
            parts.append(functional.normalize(level.joint().flatten(0, 1), dim=-1).cpu())
        places = torch.cat(parts)
        likeness = places @ (lesion - plain).cpu()
        kept = places[likeness.argsort(stable=True)[: max(1, int(len(places) * (1 - CANDIDATES)))]]
        rows = before.dictionary.cpu()
        if self.clusters:
            rows = torch.cat([rows, clustered(kept, self.clusters)])
        module = Intervention(rows, self.sharpness)
        module.prior.copy_(module.attention(kept).mean(dim=0))
        own.adjusts = module.to(own.device)
        own.eval()

    def state(self, model: nn.Module) -> dict[str, Tensor]:
        """Return dictionary, P(d), strengths and sharpness."""
        return {
            name: value.detach().cpu().clone()
            for name, value in _module(model).state_dict().items()
        }

    def load_state(self, model: nn.Module, state: Mapping[str, Tensor]) -> None:
        """Put a tuned dictionary in the place of that of the texts.

        Raises:
            WeightsMismatchError: If it is none, or as wide as no embedding of the model.
        """
        own = reading_sentences(model, KIND)
        width = _module(model).dictionary.shape[1]
        rows = state.get("dictionary", torch.zeros(0, 0))
        if rows.ndim != 2 or rows.shape[1] != width:
            raise WeightsMismatchError(
                f"the dictionary of the adapter is {tuple(rows.shape)}, and embeddings of this "
                f"model are {width} numbers wide. Choose the model that it was tuned for."
            )
        module = Intervention(rows.float(), self.sharpness)
        check_keys(state, module.state_dict(), "the adapter")
        module.load_state_dict(dict(state))
        own.adjusts = module.to(own.device)

    def merge(self, model: nn.Module) -> None:
        """Leave the adjustment where it is: no weight of the model can do what it does."""

    def detach(self, model: nn.Module) -> None:
        """Take the adjustment away: the model is again what it was before."""
        del reading_sentences(model, KIND).adjusts

    def must_move(self, model: nn.Module) -> dict[str, nn.Parameter]:
        """Return the strengths: at 0 nothing depends on the sharpness."""
        return {"adjusts.strengths": _module(model).strengths}

    def files(self, state: Mapping[str, Tensor]) -> dict[str, bytes]:
        """Return the tensors."""
        from safetensors.torch import save

        return {WEIGHTS: save({name: value.contiguous() for name, value in state.items()})}

    def further_files(self, model: nn.Module, source: str) -> dict[str, bytes]:
        """Return what it was made from, and P(d) of each row of the dictionary."""
        prior = [round(value, 6) for value in _module(model).prior.tolist()]
        said = self.description() | {"prior": prior}
        return {CONFIG: json.dumps(said, indent=2, sort_keys=True).encode()}

    @classmethod
    def described(cls, said: Mapping[str, Any], file: str) -> "Intervene":
        """Return the recipe of a configuration file.

        Raises:
            WeightsMismatchError: If it describes none.
        """
        known = cls().description()
        values: dict[str, Any] = {key: said.get(key) for key in known if key != "kind"}
        odd = [key for key, value in values.items() if type(value) is not type(known[key])]
        if said.get("kind") != KIND or odd:
            raise WeightsMismatchError(
                f"{file} describes no intervention: see {', '.join(odd) or 'kind'}."
            )
        return cls(**values)


def _module(model: nn.Module) -> Intervention:
    module = reading_sentences(model, KIND).adjusts
    assert isinstance(module, Intervention)
    return module
