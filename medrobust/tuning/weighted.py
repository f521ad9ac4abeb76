"""What tuning minimises: several losses of an image, weighted and added up.

Each function is one formula over the images of one data set in a batch, and gives each image its
part; what compares images with one another sees those of its own process alone.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from medrobust.base.targets import Texts
from medrobust.datasets.image_set import ImageSet
from medrobust.exceptions import ConfigurationError
from medrobust.models.text_pairs import TextPairs
from medrobust.models.zero_shot import IdentityHead, ZeroShotHead
from medrobust.types import Int64Array

from .minimised import Settings
from .objective import Seen
from .shot_facts import codes_of, measures_of
from .shots import ShotBatch, ShotPart

Losses: TypeAlias = Callable[[ShotPart, Seen], Tensor]
"""Returns the loss of each image of a part by its head: the cross-entropy for class texts."""

WITH_TEXTS = ("class_texts", "image_text", "measures")
"""Objectives that read a head of texts: `measures` its width alone."""


def image_text(features: Tensor, texts: Tensor, same: Tensor, scale: float) -> Tensor:
    """Symmetric InfoNCE, half over texts for an image and half over images for a text.

    loss_i = -1/2 [sum_j t_ij log softmax_j(s_ij) + sum_j t_ij log softmax_j(s_ji)], where
    s_ij = scale x cosine of image i and text j, and t_i is spread evenly over the texts that are
    the same as that of i (van den Oord et al., arXiv:1807.03748; Radford et al., 2103.00020).

    Args:
        features: (B, D) of unit norm.
        texts: (B, D) of unit norm, the text of each image.
        same: bool (B, B), whether two of these texts are the same.
        scale: Multiplier of the cosine.

    Returns:
        (B,).
    """
    scores = scale * features @ texts.T
    share = same.to(scores.dtype) / same.sum(dim=1, keepdim=True)
    of_images = -(share * functional.log_softmax(scores, dim=1)).sum(dim=1)
    of_texts = -(share * functional.log_softmax(scores.T, dim=1)).sum(dim=1)
    return (of_images + of_texts) / 2


def contrast(features: Tensor, codes: Tensor, temperature: float) -> Tensor:
    """Contrast images that belong together with all others of the batch.

    loss_i = -mean over partners p of log [exp(s_ip) / sum over j != i of exp(s_ij)], s = cosine /
    temperature (Khosla et al., arXiv:2004.11362, L_out); 0 for an image without a partner.

    Args:
        features: (B, D) of unit norm.
        codes: int64 (B,), equal for images that belong together.
        temperature: What cosines are divided by.

    Returns:
        (B,).
    """
    alone = torch.eye(len(codes), dtype=torch.bool, device=features.device)
    partners = (codes[:, None] == codes[None]) & ~alone
    if len(codes) < 2:
        return 0.0 * features.sum(dim=1)
    scores = (features @ features.T / temperature).masked_fill(alone, -torch.inf)
    logs = functional.log_softmax(scores, dim=1).masked_fill(~partners, 0.0)
    return -logs.sum(dim=1) / partners.sum(dim=1).clamp(min=1)


def consistency(features: Tensor, clean: Tensor) -> Tensor:
    """Return 1 - cosine of each image and its clean self, which is taken as it is: (B,).

    Args:
        features: (B, D) of unit norm, of images as they are trained on.
        clean: (B, D) of unit norm; no gradient flows into it.
    """
    return 1 - (features * clean.detach()).sum(dim=1)


def regression(predicted: Tensor, measures: Tensor) -> Tensor:
    """Return the mean over measures of the squared error, of those that are known: (B,).

    Args:
        predicted: (B, M).
        measures: (B, M), NaN where one is not known.
    """
    known = ~torch.isnan(measures)
    apart = (predicted - torch.where(known, measures, predicted.detach())) ** 2
    return (apart * known).sum(dim=1) / known.sum(dim=1).clamp(min=1)


class Objectives(nn.Module):
    """The losses of a recipe, with what they know of each data set that is tuned on.

    Args:
        settings: What is minimised.
        heads: Class texts, or pairs of images and texts, of each data set.
        shots: The images of each.
        corrupts: Whether the recipe corrupts images.
        scale: Multiplier of the cosine of image and text; None: the model's own.

    Raises:
        ConfigurationError: If a data set has not what an objective needs.
    """

    def __init__(
        self,
        settings: Settings,
        heads: Sequence[nn.Module],
        shots: Sequence[ImageSet],
        corrupts: bool = False,
        scale: float | None = None,
    ) -> None:
        super().__init__()
        self.settings, self.scale = settings, scale
        wanted = settings.weights
        if "consistency" in wanted and not corrupts:
            raise ConfigurationError(
                "tuning.objective=consistency compares images with their corrupted selves: say by "
                "tuning.corrupt how they are corrupted."
            )
        if "same_pair" in wanted and settings.pair_column is None:
            raise ConfigurationError(
                "tuning.objective=same_pair needs tuning.pair_column, the metadata column that "
                "numbers pairs."
            )
        for head, one in zip(heads, shots, strict=True):
            _check_texts(wanted, head, one)
        self._codes = [codes_of(settings, one) for one in shots]
        self._measures = [measures_of(settings, one) for one in shots]
        self._row = [{key: row for row, key in enumerate(one.index.tolist())} for one in shots]
        self.slopes: nn.Parameter | None = None
        if "measures" in wanted:  # both begin at 0, the mean of every measure
            self.slopes = nn.Parameter(torch.zeros(len(settings.measures), _width(heads)))
            self.offsets = nn.Parameter(torch.zeros(len(settings.measures)))

    @property
    def groups(self) -> Int64Array | None:
        """What keeps images side by side in a batch, over all sets: int64 (N,); None: nothing."""
        if not any(self._codes):
            return None
        each = [next(iter(codes.values())).numpy() for codes in self._codes]
        firsts = np.cumsum([0, *(2 * len(codes) for codes in each)])  # numbers go up to 2 N
        moved = [codes + first for codes, first in zip(each, firsts[:-1], strict=True)]
        found: Int64Array = np.concatenate(moved)
        return found

    @property
    def needs_clean(self) -> bool:
        """Whether clean images are encoded beside those that are trained on."""
        return "consistency" in self.settings.weights

    def of_batch(
        self,
        batch: ShotBatch,
        encoded: Sequence[Seen],
        clean: Sequence[Seen] | None,
        heads: nn.ModuleList,
        classes: Losses,
    ) -> list[Tensor]:
        """Return the weighted sum of the losses of each image, a data set at a time.

        Args:
            batch: What a process sees of a batch.
            encoded: What the model says of each part.
            clean: Likewise, of images before they were corrupted; None where it is not needed.
            heads: Of the data sets.
            classes: Gives the loss of a part by its head.
        """
        before = [None] * len(encoded) if clean is None else clean
        each = zip(batch.parts, encoded, before, strict=True)
        return [self._of_part(*one, heads[one[0].dataset], classes, batch.epoch) for one in each]

    def _of_part(
        self,
        part: ShotPart,
        seen: Seen,
        clean: Seen | None,
        head: nn.Module,
        classes: Losses,
        epoch: int,
    ) -> Tensor:
        rows = torch.tensor([self._row[part.dataset][key] for key in part.index.tolist()])
        unit = functional.normalize(seen.features.float(), dim=1)
        total = torch.zeros(len(unit), device=unit.device)
        for name, weight in self.settings.weights.items():
            if name == "class_texts":
                own = classes(part, seen)
            elif name == "image_text":
                own = _of_texts(head, part, rows, unit, epoch, self.scale)
            elif name == "consistency":
                assert clean is not None
                own = consistency(unit, functional.normalize(clean.features.float(), dim=1))
            elif name == "measures":
                assert self.slopes is not None
                given = self._measures[part.dataset][rows].to(unit.device)
                own = regression(functional.linear(unit, self.slopes, self.offsets), given)
            else:
                codes = self._codes[part.dataset][name][rows].to(unit.device)
                own = contrast(unit, codes, self.settings.temperature)
            total = total + weight * own
        return total


def minimised(
    objectives: Objectives | None,
    batch: ShotBatch,
    encoded: Sequence[Seen],
    encode: Callable[[Sequence[ShotPart], Sequence[Tensor]], list[Seen]],
    heads: nn.ModuleList,
    losses: Losses,
) -> list[Tensor]:
    """Return what is minimised, image by image: the loss of each head unless asked otherwise.

    Args:
        objectives: What was asked for; None: nothing.
        batch: What a process sees of a batch.
        encoded: What the model says of each part.
        encode: Says it of other images of the parts.
        heads: Of the data sets.
        losses: Gives the loss of a part by its head.
    """
    if objectives is None:
        return [losses(part, own) for part, own in zip(batch.parts, encoded, strict=True)]
    clean = None
    if objectives.needs_clean:
        with torch.no_grad():
            clean = encode(batch.parts, [part.images for part in batch.parts])
    return objectives.of_batch(batch, encoded, clean, heads, losses)


def asked_objectives(
    tuning: Any, heads: nn.ModuleList, shots: Sequence[ImageSet]
) -> Objectives | None:
    """Return what a recipe minimises; None: the cross-entropy against the class texts alone.

    Raises:
        ConfigurationError: If a data set has not what is asked for, or an epoch is to be chosen by
            errors that reports have not.
    """
    settings = tuning.objectives
    if any(isinstance(head, TextPairs) for head in heads):
        settings = settings or Settings({"image_text": 1.0})
        if tuning.choose != "last":
            raise ConfigurationError(
                f"tuning.choose={tuning.choose} chooses an epoch by the errors of classes, and "
                f"reports have none: pass tuning.choose=last."
            )
    if tuning.head is not None and any(isinstance(head, IdentityHead) for head in heads):
        _check_needs_no_texts(settings, tuning.choose)
    if settings is None:
        return None
    return Objectives(settings, list(heads), shots, tuning.corrupt is not None, tuning.logit_scale)


def _check_needs_no_texts(settings: Settings | None, choose: str) -> None:
    """Refuse to tune an encoder without text by what needs one.

    Raises:
        ConfigurationError: Naming the key.
    """
    weights = {"class_texts": 1.0} if settings is None else settings.weights
    texts = [name for name in WITH_TEXTS if name in weights]
    if texts:
        raise ConfigurationError(
            f"tuning.objective={texts[0]} needs a model with a text side: an image tower alone "
            f"takes same_patient, same_pair and consistency."
        )
    if choose != "last":
        raise ConfigurationError(
            f"tuning.choose={choose} chooses an epoch by answers to class texts, which an image "
            f"tower alone has not: pass tuning.choose=last."
        )


def _of_texts(
    head: nn.Module, part: Any, rows: Tensor, unit: Tensor, epoch: int, given: float | None
) -> Tensor:
    """Pair images with their reports, or with the texts of their classes."""
    if isinstance(head, TextPairs):
        chosen = head.texts_of(rows, epoch).to(unit.device)
        texts, scale = head.features[chosen], head.logit_scale
    else:
        chosen = part.labels
        texts, scale = cast(ZeroShotHead, head).present[chosen], cast(Any, head).logit_scale
    scale = scale if given is None else given
    with torch.autocast(unit.device.type, enabled=False):
        return image_text(unit, texts.float(), chosen[:, None] == chosen[None], float(scale))


def _width(heads: Sequence[nn.Module]) -> int:
    """Return the width of the features.

    Raises:
        ConfigurationError: If they are no features but logits.
    """
    for head in heads:
        if isinstance(head, TextPairs):
            return head.features.shape[1]
        if isinstance(head, ZeroShotHead):
            return head.present.shape[1]
    raise ConfigurationError("tuning.objective=measures needs a model with a text side.")


def _check_texts(wanted: Mapping[str, float], head: nn.Module, one: ImageSet) -> None:
    """Refuse objectives whose texts a data set has not.

    Raises:
        ConfigurationError: Naming it.
    """
    reports = isinstance(one.target, Texts)
    if "class_texts" in wanted and reports:
        raise ConfigurationError(
            f"tuning.objective=class_texts needs classes, and the task matches {one.name!r} with "
            f"reports: take image_text."
        )
    classes = isinstance(head, ZeroShotHead) and not reports and one.labels.ndim == 1
    if "image_text" in wanted and not (reports or classes):
        raise ConfigurationError(
            f"tuning.objective=image_text pairs an image of {one.name!r} with a report or the text "
            f"of its one class: it has neither."
        )
    if "image_text" in wanted and len(set(_texts_of(one))) == 1:
        raise ConfigurationError(
            f"tuning.objective=image_text tells texts apart, and all {len(one)} shots of "
            f"{one.name!r} have the same one: take more (tuning.shots), or leave image_text out."
        )


def _texts_of(one: ImageSet) -> list[Any]:
    """Return reports, or the class of each image, whose text it has."""
    found = one.target.values if isinstance(one.target, Texts) else one.labels
    return list(found.tolist())
