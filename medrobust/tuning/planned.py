"""An adapter that is to be made, named before anything is trained; and what its record says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medrobust.base.bags import numbered_alike
from medrobust.base.fingerprints import fingerprint
from medrobust.datasets.sampling import FewShots

from .shot_facts import repeats_pairs
from .stage import Stage

FORMAT = 1


@dataclass(frozen=True, slots=True)
class PlannedAdapter:
    """An adapter that is to be made, or found.

    Attributes:
        stage: What is tuned, and how.
        fingerprint: Of base model, shots and recipe.
        folder: Where it lies once it is made.
        drawn: Shots and selection part of each data set.
        heads: What the class texts of each data set are, as in the cells.
        protocol: What the reader of its figures must know of how it was tuned.
    """

    stage: Stage
    fingerprint: str
    folder: Path
    drawn: tuple[FewShots, ...]
    heads: tuple[Mapping[str, Any], ...]
    protocol: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """In tables and in the store: recipe, amount and draw."""
        return self.stage.name

    def record(self, base: Mapping[str, Any], prompts: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the artifact says of how it was made; measurements come beside it.

        Args:
            base: The model that was tuned: name, weights, source, revision and license.
            prompts: The prompt set that its class texts are of.
        """
        recipe = self.stage.recipe.description()
        return {
            "fingerprint": self.fingerprint,
            "name": self.name,
            "label": self.stage.label,
            "kind": recipe["kind"],
            "recipe": recipe,
            "task": self.stage.how.description(),
            "base": dict(base),
            "prompts": dict(prompts),
            "data": [_record_of(one) for one in self.drawn],
            "protocol": [*self.protocol, *getattr(self.stage.recipe, "protocol", ())],
        }


def _record_of(drawn: FewShots) -> dict[str, Any]:
    return drawn.record() | {
        "license": drawn.shots.license,
        "fingerprint": drawn.shots.fingerprint,
        "class_names": list(drawn.shots.class_names),
    }


def adapter_fingerprint(
    encoder: Mapping[str, Any],
    stage: Stage,
    drawn: Sequence[FewShots],
    heads: Sequence[Mapping[str, Any]],
) -> str:
    """Hash what decides the tuned weights.

    Args:
        encoder: Of the model as published.
        stage: What is tuned, and how.
        drawn: Shots and selection part of each data set.
        heads: What the class texts of each data set are; their names decide nothing.
    """
    settings = None if stage.recipe.trains_head else stage.how.objectives
    repeated = settings is not None and any(repeats_pairs(settings, d.shots) for d in drawn)
    return fingerprint(
        [
            FORMAT,
            dict(encoder),
            *stage.description(),
            [[d.shots.fingerprint, d.selection and d.selection.fingerprint] for d in drawn],
            [{k: v for k, v in head.items() if k != "name"} for head in heads],
            *(["pairs of a patient"] if repeated else []),  # they were pairs across patients
            *_told_apart(stage, drawn),
        ]
    )


def _told_apart(stage: Stage, drawn: Sequence[FewShots]) -> list[Any]:
    """Say of which data sets units of several patients are numbered alike; nothing where of none.

    Raises:
        ConfigurationError: If shots of a data set do not say what belongs together.
    """
    by = stage.recipe.description().get("by", "groups")
    alike = [one.shots.name for one in drawn if by != "groups" and numbered_alike(one.shots, by)]
    return [alike] if alike else []
