"""Attention that pools parts of an image, or images of a patient, and a linear classifier of it.

    a_i = softmax_i(w . tanh(V h_i))            gated: w . (tanh(V h_i) * sigmoid(U h_i))
    z   = sum_i a_i h_i,  logits = W z + b

(Ilse et al., arXiv:1802.04712). Fitted on all shots at once, from uniform weights on, by Adam:

    min  [sum_n loss(logits_n, y_n) + |W|^2 / (2 C)] / N

so that where attention stays uniform the optimum is the linear probe of the mean.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from medrobust.base.given import check_number, check_whole
from medrobust.exceptions import ConfigurationError
from medrobust.types import LabelKind, LogitBatch

PARTS = ("query", "hidden", "gate", "weight", "bias")
"""Tensors of a fitted head: w (H,), V (H, D), U (H, D) or empty, W (K, D), b (K,)."""


@dataclass(frozen=True, slots=True)
class Attention:
    """How attention is fitted: what both recipes share.

    Args:
        hidden: Rows of V.
        gated: Whether U gates them.
        inverse_penalty: C.
        steps: Of Adam, over all shots each.
        rate: Its learning rate.
        seed: Of the first V and U.
    """

    hidden: int = 64
    gated: bool = False
    inverse_penalty: float = 100.0
    steps: int = 300
    rate: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers that fit nothing.

        Raises:
            ConfigurationError: Naming the key.
        """
        for name in ("hidden", "steps"):
            check_whole(f"adapter.{name}", getattr(self, name))
        for name in ("inverse_penalty", "rate"):
            check_number(f"adapter.{name}", getattr(self, name))
            if not getattr(self, name) > 0:
                raise ConfigurationError(f"adapter.{name}={getattr(self, name)} must be above 0.")

    def described(self, head: str) -> dict[str, Any]:
        """Return what decides the fit."""
        own = {name: getattr(self, name) for name in ("hidden", "gated", "steps", "rate", "seed")}
        return {"kind": "probe", "head": head, "inverse_penalty": self.inverse_penalty, **own}

    def pooled_head(self, parts: Tensor, there: Tensor, labels: Tensor, classes: int) -> "Pooled":
        """Fit one head.

        Args:
            parts: float32 (N, P, D) of unit norm, the parts of each shot.
            there: bool (N, P), False for padding.
            labels: int64 (N,), or (N, L) of zeros and ones.
            classes: K, or L.
        """
        width = parts.shape[2]
        draw = torch.Generator().manual_seed(self.seed)
        first = [torch.randn(self.hidden, width, generator=draw) / width**0.5 for _ in range(2)]
        values = [
            torch.zeros(self.hidden),
            first[0],
            first[1] if self.gated else torch.zeros(0, width),
            torch.zeros(classes, width),
            torch.zeros(classes),
        ]
        tensors = [value.requires_grad_() for value in values]
        optimizer = torch.optim.Adam(tensors, lr=self.rate)
        for _ in range(self.steps):
            optimizer.zero_grad()
            objective(tensors, parts, there, labels, self.inverse_penalty).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        query, key, gate, weight, bias = (value.detach() for value in tensors)
        return Pooled(query, key, gate, weight, bias)


def pooled(tensors: list[Tensor], parts: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits (N, K) and attention (N, P), 0 for padding.

    Args:
        tensors: As `PARTS` has them.
        parts: (N, P, D).
        there: bool (N, P).
    """
    query, hidden, gate, weight, bias = tensors
    told = torch.tanh(parts @ hidden.T)
    if len(gate):
        told = told * torch.sigmoid(parts @ gate.T)
    scores = (told @ query).masked_fill(~there, -torch.inf)
    attention = scores.softmax(dim=1)
    joined = (attention[..., None] * parts).sum(dim=1)
    return joined @ weight.T + bias, attention


def objective(
    tensors: list[Tensor], parts: Tensor, there: Tensor, labels: Tensor, inverse_penalty: float
) -> Tensor:
    """Return what is minimised, for all shots together."""
    logits, _ = pooled(tensors, parts, there)
    if labels.ndim == 2:
        loss = functional.binary_cross_entropy_with_logits(
            logits, labels.to(logits.dtype), reduction="sum"
        )
    else:
        loss = functional.cross_entropy(logits, labels, reduction="sum")
    return (loss + tensors[3].square().sum() / (2 * inverse_penalty)) / len(parts)


class Pooled(nn.Module):
    """A fitted head; its state is what an artifact keeps.

    Attributes:
        query: float32 (H,).
        hidden: float32 (H, D).
        gate: float32 (H, D), or (0, D).
        weight: float32 (K, D).
        bias: float32 (K,).
        block: int64 (), whose patch features it pools; 0: images of a patient.
        by: uint8 letters of the metadata column that tells patients; none: the set's own.
    """

    block: Tensor
    by: Tensor

    def __init__(
        self,
        query: Tensor,
        hidden: Tensor,
        gate: Tensor,
        weight: Tensor,
        bias: Tensor,
        *,
        block: int = 0,
        by: str = "",
    ) -> None:
        super().__init__()
        for name, value in zip(PARTS, (query, hidden, gate, weight, bias), strict=True):
            self.register_buffer(name, value)
        self.register_buffer("block", torch.tensor(block))
        self.register_buffer("by", torch.tensor(list(by.encode()), dtype=torch.uint8))

    @property
    def column(self) -> str:
        """Metadata column that tells patients; empty: those that the set names."""
        return bytes(self.by.tolist()).decode()

    def tensors(self) -> list[Tensor]:
        """Return the parts as `pooled` takes them."""
        return [getattr(self, name) for name in PARTS]

    def logits(self, parts: Tensor, there: Tensor | None = None) -> LogitBatch:
        """Return float32 (N, K) from parts (N, P, D) of unit norm; all are there by default."""
        if there is None:
            there = torch.ones(parts.shape[:2], dtype=torch.bool, device=parts.device)
        return pooled(self.tensors(), parts.float(), there)[0]

    def of_bags(self, features: Tensor, codes: Tensor) -> LogitBatch:
        """Return the logits of each image's bag, float32 (N, K).

        Args:
            features: (N, D) of unit norm.
            codes: int64 (N,), the bag of each image, every number from 0 on.
        """
        together = bags(features.float(), codes)
        return self.logits(together, together.square().sum(dim=2) > 0)[codes]

    def forward(self, parts: Tensor) -> LogitBatch:
        """Return `logits(parts)`."""
        return self.logits(parts)


def pooled_of(state: dict[str, Tensor]) -> Pooled:
    """Return the head that an artifact keeps."""
    by = bytes(state["by"].tolist()).decode()
    query, hidden, gate, weight, bias = (state[name] for name in PARTS)
    return Pooled(query, hidden, gate, weight, bias, block=int(state["block"]), by=by)


@dataclass(frozen=True, slots=True)
class AttentionProbe(Attention):
    """Attention over the places of the last block of the image tower, each of unit norm.

    Args: as those of `Attention`.
    """

    needs_tuning: ClassVar[bool] = True
    trains_head: ClassVar[bool] = True
    needs_selection: ClassVar[bool] = False
    reads: ClassVar[str] = "patches"

    name: str = "attention_probe"

    def description(self) -> dict[str, Any]:
        """Return what decides the fit."""
        return self.described("attention_probe")

    def fit(
        self,
        features: Tensor,
        labels: Tensor,
        label_kind: LabelKind,
        classes: int,
        selection: tuple[Tensor, Tensor] | None = None,
    ) -> Pooled:
        """Fit one data set.

        Args:
            features: float32 (N, P, D) of unit norm, the places of each shot.
            labels: int64 (N,), or (N, L) of zeros and ones.
            label_kind: Of the data set, as MedMNIST names it.
            classes: K, or L.
            selection: Not read: there is nothing to choose.
        """
        there = torch.ones(features.shape[:2], dtype=torch.bool)
        return self.pooled_head(features, there, labels, classes)


@dataclass(frozen=True, slots=True)
class AttentionMil(Attention):
    """Attention over the images, or lesions, of a patient: one answer for all of them.

    Args:
        by: "groups", the patients that a set names; or a metadata column, such as "image" of
            lesions. Others as those of `Attention`.
    """

    needs_tuning: ClassVar[bool] = True
    trains_head: ClassVar[bool] = True
    needs_selection: ClassVar[bool] = False
    reads: ClassVar[str] = "bags"

    name: str = "attention_mil"
    by: str = "groups"

    def description(self) -> dict[str, Any]:
        """Return what decides the fit."""
        return {**self.described("attention_mil"), "by": self.by}

    def fit(
        self,
        features: Tensor,
        labels: Tensor,
        label_kind: LabelKind,
        classes: int,
        selection: tuple[Tensor, Tensor] | None = None,
    ) -> Pooled:
        """Fit one data set.

        Args:
            features: float32 (B, P, D) of unit norm, the images of each patient, 0 for padding.
            labels: int64 (B,), or (B, L) of zeros and ones, of patients.
            label_kind: Of the data set, as MedMNIST names it.
            classes: K, or L.
            selection: Not read: there is nothing to choose.
        """
        there = features.square().sum(dim=2) > 0
        head = self.pooled_head(features, there, labels, classes)
        query, hidden, gate, weight, bias = head.tensors()
        by = "" if self.by == "groups" else self.by
        return Pooled(query, hidden, gate, weight, bias, by=by)


def bags(features: Tensor, codes: Tensor) -> Tensor:
    """Return the rows of each bag side by side: (B, P, D), 0 where a bag has fewer than others.

    Args:
        features: (N, D).
        codes: int64 (N,), the bag of each row, every number from 0 on.

    Example:
        >>> bags(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([1, 0, 1])).tolist()
        [[[2.0], [0.0]], [[1.0], [3.0]]]
    """
    counts = torch.bincount(codes)
    found = features.new_zeros(len(counts), int(counts.max()), features.shape[1])
    order = torch.argsort(codes, stable=True)
    starts = torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    found[codes[order], torch.arange(len(codes)) - starts] = features[order]
    return found
