"""What classifies: class texts, a trained probe, or the model itself. Planned without torch."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from medrobust.base.bags import numbered_alike
from medrobust.base.fingerprints import fingerprint
from medrobust.base.once import say_once
from medrobust.base.wording import part_of
from medrobust.corruptions.texts import TextCorruption
from medrobust.exceptions import ConfigurationError
from medrobust.tasks.base import APART, READ_AS, HeadDescription, ModelSide, deciding

if TYPE_CHECKING:
    from medrobust.models.prompts import PromptSet

log = logging.getLogger(__name__)

TEXTS, PROBE, ITSELF = "zero_shot", "probe", "identity"
"""Kinds of heads, as fingerprints hold them."""

GUIDANCE = "guidance"
"""Key of a head: gamma and the general texts that its logits are pushed away from."""


def heads(
    data: Any, side: ModelSide, corruption: TextCorruption | None = None
) -> list[HeadDescription]:
    """Say what classifies: one head a prompt set, or the model's or adapter's own alone.

    Prompt sets that give this data set the same sentences are one head, named after the first.

    Args:
        data: Facts and target of the split.
        side: The model and its prompt sets.
        corruption: What sentences are corrupted by, in rows beside those of sentences as they are.

    Raises:
        ConfigurationError: If the model cannot classify, prompts do not suit the data set, or there
            are no sentences to corrupt.
    """
    probe = None
    if side.trained is not None:
        probe = side.trained.head_description(data.name, data.class_names)
    if probe is None and not has_text_side(side):
        check_classifies(side)
        probe = {"kind": ITSELF}
    elif probe is not None:
        assert side.trained is not None
        column = getattr(side.trained.head(data.name, data.class_names), "column", "")
        if numbered_alike(data, column):
            probe = {**probe, APART: column}
    if probe is not None:
        if corruption is not None:
            raise ConfigurationError(
                f"model {side.source.name!r} classifies {data.name} by no sentences, so that "
                f"text_corruption has none to corrupt: leave it out."
            )
        return [probe]
    check_class_texts(data)
    distinct: dict[str, HeadDescription] = {}
    for prompts in side.prompt_sets:
        plain = head_description(prompts, data)
        for texts in (plain, *_corrupted(plain, corruption, data.name)):
            head = as_read(texts, side.source)
            first = distinct.setdefault(fingerprint(deciding(head)), head)
            if first is not head:
                told = (
                    f"prompt sets {first['name']!r} and {head['name']!r} give {data.name} the same "
                    f"sentences: they are one row."
                )
                say_once(log, logging.INFO, told)
    return list(distinct.values())


def _corrupted(
    head: dict[str, Any], corruption: TextCorruption | None, dataset: str
) -> Iterator[dict[str, Any]]:
    """Give the same head with corrupted sentences, one a severity; how many changed is said."""
    for level in () if corruption is None else corruption.severities:
        assert corruption is not None
        change = partial(corruption, severity=level)
        found = {
            **head,
            **_changed(head, change),
            "name": f"{head['name']}, {corruption.name} {level}",
        }
        if GUIDANCE in head:
            found[GUIDANCE] = {**head[GUIDANCE], **_changed(head[GUIDANCE], change)}
        before, after = (
            [sentence for group in one["texts"] for sentence in group] for one in (head, found)
        )
        moved = sum(a != b for a, b in zip(before, after, strict=True))
        said = part_of(moved, len(before), "sentence")
        told = f"{dataset}: {corruption.name} {level} changes {said} of the classes"
        say_once(log, logging.INFO, told)
        yield found


def _changed(head: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """Change every sentence of a head: those of its classes, and those that deny them."""
    return {
        side: [[change(sentence) for sentence in group] for group in head[side]]
        for side in ("texts", "absent")
        if head[side]
    }


def has_text_side(side: ModelSide) -> bool:
    """Say whether the model has a text side, so that class texts classify."""
    from medrobust.models.base import VisionLanguageModel

    return isinstance(side.model(), VisionLanguageModel)


def classifies(side: ModelSide) -> bool:
    """Say whether the model classifies without a probe: no image tower alone does."""
    from medrobust.models.base import ImageModel

    return has_text_side(side) or not isinstance(side.model(), ImageModel)


def check_classifies(side: ModelSide) -> None:
    """Refuse an image tower alone, whose features are no logits.

    Raises:
        ConfigurationError: Naming the model.
    """
    if not classifies(side):
        raise ConfigurationError(
            f"model {side.source.name!r} has no text side, so that it cannot classify "
            f"by prompts. Train a probe on its features, or choose a model with a text side."
        )


def check_class_texts(data: Any) -> None:
    """Refuse prompts like "a photo of 1": class names that are numbers say nothing to a model.

    Raises:
        ConfigurationError: If all texts of the classes are numbers.
    """
    if all(text.strip().isdecimal() for text in data.texts):
        raise ConfigurationError(
            f"the classes of data set {data.name!r} are named {', '.join(data.texts)}, "
            f"and prompts need words: pass dataset.class_names=[...] or dataset.prompt_names=[...] "
            f"in label order."
        )


def head_description(prompts: "PromptSet", data: Any) -> dict[str, Any]:
    """Say what turns features into logits: the sentences of each class.

    Raises:
        ConfigurationError: If the prompt set does not suit the data set.
    """
    if prompts.guidance is not None:
        return _guided(prompts, data)
    names: dict[str, Any] = {
        "dataset": data.name,
        "class_texts": data.texts,
        "modality": data.modality,
    }
    return {
        "kind": TEXTS,
        "name": prompts.name,
        "texts": prompts.texts(**names),
        "absent": _absent(prompts, data, names),
    }


def _guided(prompts: "PromptSet", data: Any) -> dict[str, Any]:
    """Add the general texts; at 1 and at 0 one side is left, and the head is the plain one."""
    assert prompts.guidance is not None
    gamma, name = float(prompts.guidance.gamma), f"{prompts.name} ({prompts.guidance.gamma:g})"
    expert = {**head_description(replace(prompts, guidance=None), data), "name": name}
    generic = {**head_description(prompts.guidance.generic, data), "name": name}
    if gamma in (0.0, 1.0):
        return expert if gamma else generic
    if bool(expert["absent"]) != bool(generic["absent"]):
        raise ConfigurationError(
            f"of the prompt sets {prompts.name!r} and {prompts.guidance.generic.name!r} one has "
            f"absent texts and the other has not, so that their logits cannot be combined on "
            f"{data.name}. Choose two of a kind."
        )
    sides = {key: generic[key] for key in ("texts", "absent")}
    return {**expert, GUIDANCE: {"gamma": gamma, **sides}}


def as_read(head: dict[str, Any], source: Any) -> dict[str, Any]:
    """Add what the model's tokenizer makes of sentences that release 0.1 read otherwise.

    A head of other sentences stays as it was, and so do the fingerprints of its stored cells.
    """
    from medrobust.models.text_cleaning import reworded

    sides = (head, *([head[GUIDANCE]] if GUIDANCE in head else []))
    classes = [each for side in sides for each in (*side["texts"], *(side["absent"] or ()))]
    altered = reworded(source, sorted({sentence for texts in classes for sentence in texts}))
    return {**head, READ_AS: altered} if altered else head


def tuned_head(data: Any, side: ModelSide, *, trains_head: bool) -> HeadDescription:
    """Say what classifies while an adapter is tuned: texts, the model itself, or what is trained.

    Raises:
        ConfigurationError: If the model cannot classify, or the prompts deny no label.
    """
    if not has_text_side(side):
        if not trains_head:
            check_classifies(side)
        return {"kind": ITSELF}
    (prompts,) = side.prompt_sets
    if prompts.guidance is not None:
        raise ConfigurationError(
            f"prompt set {prompts.name!r} is guided, and tuning takes one that is not: choose "
            f"another."
        )
    head = as_read(head_description(prompts, data), side.source)
    if data.labels.ndim == 2 and not head["absent"]:
        raise ConfigurationError(
            f"prompt set {prompts.name!r} has no absent texts, which tuning on the "
            f"labels of {data.name} needs. Choose another prompt set."
        )
    return head


def _absent(
    prompts: "PromptSet", data: Any, names: Mapping[str, Any]
) -> Sequence[Sequence[str]] | Literal[False] | None:
    """Return the texts that deny each label; False where the prompt set has none."""
    if data.label_kind != "multi-label, binary-class":
        return None
    return prompts.absent_texts(**names) or False
