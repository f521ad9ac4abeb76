"""Prompt sets: sentence templates that turn class names into sentences, as data."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from medrobust.base.wording import article, counted
from medrobust.exceptions import ConfigurationError

_FIELD = re.compile(r"\{([^{}]*)\}")
_FIELDS = ("", "modality", "dataset")
_ARTICLE = re.compile(r"\b([Aa])n?(?= \{modality\})")

STATES = ("normal", "abnormal")
"""What an image is, where nothing else is asked."""


def agreeing_article(template: str, modality: str) -> str:
    """Return a template whose article before `{modality}` suits the modality.

    Example:
        >>> agreeing_article("a {modality} of {}", "xray"), agreeing_article("A {modality}", "CT")
        ('an {modality} of {}', 'A {modality}')
    """
    rest = article(modality)[1:]
    return _ARTICLE.sub(lambda found: found[1] + rest, template)


def check_words(where: str, words: Sequence[object]) -> None:
    """Refuse words of a state that say nothing, or ask for a field other than `{modality}`.

    Args:
        where: What holds them, for the error.
        words: Words or sentences.

    Raises:
        ConfigurationError: Naming the place and the words.
    """
    for one in words:
        if not isinstance(one, str) or not one.strip():
            raise ConfigurationError(
                f"{where} holds {one!r}, which is no sentence: write words, or take it away."
            )
        unknown = [name for name in _FIELD.findall(one) if name != "modality"]
        if unknown:
            raise ConfigurationError(
                f"{where}: {one!r} has the unknown field {{{unknown[0]}}}. There is {{modality}}."
            )


@dataclass(frozen=True)
class PromptSet:
    """Templates with `{}` for the class text, and if wanted `{modality}` and `{dataset}`.

    Several templates are an ensemble: the class embedding is their normalised mean.

    Attributes:
        name: In tables and in the store.
        templates: At least one, each with `{}`.
        absent: Templates that say that a finding is absent, for multi-label sets; may be empty.
        names: Data set -> class texts in label order, in place of the data set's own; an entry may
            be a list of phrases, which all stand for the class.
        guidance: General texts that the logits are pushed away from; None: the templates alone.
        states: Words of a "normal" and of an "abnormal" image, in place of classes; in them
            `{modality}` is the modality. Empty: the set is of classes.
    """

    name: str
    templates: Sequence[str]
    absent: Sequence[str] = ()
    names: Mapping[str, Sequence[str | Sequence[str]]] = field(default_factory=dict)
    guidance: "Guidance | None" = None
    states: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse templates that could not tell classes apart."""
        if isinstance(self.templates, str) or not self.templates:
            raise ConfigurationError(
                f"prompt set {self.name!r} needs a list of at least one template, "
                f"got {self.templates!r}."
            )
        for template in (*self.templates, *self.absent):
            self._check(template)
        if self.states and (set(self.states) != set(STATES) or not all(self.states.values())):
            raise ConfigurationError(
                f"prompt set {self.name!r}: states must list words of a normal and of an abnormal "
                f"image, got {sorted(self.states)}."
            )
        for state, words in self.states.items():
            check_words(f"prompt set {self.name!r}: states.{state}", words)

    def _check(self, template: str) -> None:
        found = _FIELD.findall(template)
        unknown = [name for name in found if name not in _FIELDS]
        if unknown:
            raise ConfigurationError(
                f"prompt set {self.name!r}: template {template!r} has the unknown field "
                f"{{{unknown[0]}}}. There are: {{}}, {{modality}}, {{dataset}}."
            )
        if "" not in found:
            raise ConfigurationError(
                f"prompt set {self.name!r}: template {template!r} has no {{}} for the class name."
            )

    def texts(
        self, *, dataset: str, class_texts: Sequence[str], modality: str = ""
    ) -> list[list[str]]:
        """Return the sentences of each class, in label order.

        Args:
            dataset: Name of the data set.
            class_texts: Readable class names in label order.
            modality: A few words ("chest x-ray"), for templates that ask for it.

        Raises:
            ConfigurationError: If two classes have the same sentences, a field has no value, or the
                set is of states.
        """
        if self.states:
            raise ConfigurationError(
                f"prompt set {self.name!r} has words of a normal and an abnormal image and none of "
                f"classes: it is for task=anomaly."
            )
        return self._fill(self.templates, dataset, class_texts, modality)

    def state_texts(
        self, *, dataset: str, modality: str = "", states: Sequence[Sequence[str]] = ()
    ) -> list[list[str]]:
        """Return the sentences of the normal state, and those of the abnormal one.

        Args:
            dataset: Name of the data set.
            modality: A few words ("chest x-ray"), for templates and words that ask for it.
            states: Words of both states, for a set without any of its own.

        Raises:
            ConfigurationError: If both have the same sentences, or a field has no value.
        """
        words = [list(self.states[state]) for state in STATES] if self.states else states
        if any("{modality}" in word for own in words for word in own):
            if not modality:
                raise self._without_modality(dataset)
            words = [[word.replace("{modality}", modality) for word in own] for own in words]
        named = replace(self, states={}, names={dataset: words}, guidance=None)
        return named._fill(self.templates, dataset, STATES, modality)

    def absent_texts(
        self, *, dataset: str, class_texts: Sequence[str], modality: str = ""
    ) -> list[list[str]] | None:
        """Return the sentences that deny each finding, or None where the set has none."""
        if not self.absent:
            return None
        return self._fill(self.absent, dataset, class_texts, modality)

    def _fill(
        self, templates: Sequence[str], dataset: str, class_texts: Sequence[str], modality: str
    ) -> list[list[str]]:
        if not modality and any("{modality}" in template for template in templates):
            raise self._without_modality(dataset)
        filled = [
            [
                self._sentence(template, phrase, dataset, modality)
                for phrase in phrases
                for template in templates
            ]
            for phrases in self._phrases(dataset, class_texts)
        ]
        self._check_distinct(filled, dataset)
        return filled

    def _without_modality(self, dataset: str) -> ConfigurationError:
        return ConfigurationError(
            f"prompt set {self.name!r} asks for the modality and data set {dataset!r} names none. "
            f"Pass dataset.modality='...' or choose another prompt set."
        )

    def _phrases(self, dataset: str, class_texts: Sequence[str]) -> list[list[str]]:
        chosen = self.names.get(dataset, class_texts)
        if len(chosen) != len(class_texts):
            raise ConfigurationError(
                f"prompt set {self.name!r} names {counted(len(chosen), 'class')} for data set "
                f"{dataset!r}, which has {len(class_texts)}."
            )
        return [[entry] if isinstance(entry, str) else list(entry) for entry in chosen]

    @staticmethod
    def _sentence(template: str, text: str, dataset: str, modality: str) -> str:
        values = {"": text, "dataset": dataset, "modality": modality}
        template = agreeing_article(template, modality)
        # One pass, so that braces within a class name are text and never a field.
        return _FIELD.sub(lambda found: values[found[1]], template)

    def _check_distinct(self, filled: list[list[str]], dataset: str) -> None:
        seen: dict[tuple[str, ...], int] = {}
        for label, sentences in enumerate(filled):
            twin = seen.setdefault(tuple(sentences), label)
            if twin != label:
                raise ConfigurationError(
                    f"prompt set {self.name!r} gives classes {twin} and {label} of data set "
                    f"{dataset!r} the same sentences ({sentences[0]!r}): they could not be told "
                    f"apart. Give them different texts."
                )

    def description(self) -> dict[str, Any]:
        """Return the plain values that decide the sentences; the name does not."""
        own = {
            "templates": list(self.templates),
            "absent": list(self.absent),
            "names": {key: list(value) for key, value in self.names.items()},
        }
        if self.states:
            own |= {"states": {state: list(self.states[state]) for state in STATES}}
        return own if self.guidance is None else own | {"guidance": self.guidance.description()}


@dataclass(frozen=True)
class Guidance:
    """How far the logits of a prompt set, in an expert's words, are pushed away from general ones.

    `logit = gamma * expert - (gamma - 1) * generic`, each the logit of its texts: 1 is the
    prompt set alone, 0 the generic one alone, above 1 stresses what the expert's words add.

    Attributes:
        gamma: Finite. To be chosen on validation images: `readings=guidance` does so.
        generic: The general texts, without guidance of their own.
    """

    gamma: float
    generic: PromptSet

    def __post_init__(self) -> None:
        """Refuse what is no number, and guidance within guidance."""
        if isinstance(self.gamma, bool) or not isinstance(self.gamma, int | float):
            raise ConfigurationError(f"prompts.guidance.gamma={self.gamma!r}: write a number.")
        if not math.isfinite(self.gamma):
            raise ConfigurationError(f"prompts.guidance.gamma={self.gamma}: write a finite number.")
        if self.generic.guidance is not None:
            raise ConfigurationError(
                f"prompt set {self.generic.name!r} is guided itself: let prompts.guidance.generic "
                f"name one that is not."
            )

    def description(self) -> dict[str, Any]:
        """Return the plain values that decide it."""
        return {"gamma": float(self.gamma), "generic": self.generic.description()}
