"""A fitted gate: what it accepts, what it promises, and how it lies in a file."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.base.wording import agreeing, counted
from medrobust.exceptions import ConfigurationError
from medrobust.metrics.envelope import Envelope, Step
from medrobust.types import Float64Array

from .pairs import Pair

FORMAT = 3

FORMER = {
    1: "does not say how far anything was tested, and may accept images unlike any that were",
    2: "does not say which parameters the corruptions of its fit had",
}
"""Formats of before -> what gates of them lack."""


@dataclass(frozen=True, slots=True)
class Promise:
    """What a gate shall keep, and for which images.

    Attributes:
        alpha: Greatest risk among accepted images.
        delta: Chance that it is not kept.
        clean: Share of clean images in the mixture; the other conditions share the rest.
        held_out: Names of corruptions that are left out of the fit.
        seed: Of the draw of one image a patient.
    """

    alpha: float = 0.1
    delta: float = 0.05
    clean: float = 0.5
    held_out: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in (("alpha", self.alpha), ("delta", self.delta)):
            if not 0 < value < 1:
                raise ConfigurationError(f"--{name} {value:g}: write a number between 0 and 1.")
        if not 0 <= self.clean <= 1:
            raise ConfigurationError(f"--clean-share {self.clean:g}: write a number from 0 to 1.")


@dataclass(frozen=True)
class Gate:
    """What lies in gate.json.

    Attributes:
        envelope: What clean images are like.
        limit: Distance from them up to which an image is accepted.
        promise: What was tested.
        steps: The tests.
        images: Size, channels and way to that size of the images; their modality, if named.
        about: Model, data and class, for people and for `report`.
        clean_kept: Least, likely and greatest share of clean images that it accepts (95 %), from
            units that did not describe the envelope.
        conditions: Those of the fit, clean left out: `Pair.identity` -> name.
        tested: Units (`unit`) of which an image was drawn, accepted or not.
    """

    envelope: Envelope
    limit: float
    promise: Promise
    steps: tuple[Step, ...]
    images: Mapping[str, Any]
    about: Mapping[str, Any]
    clean_kept: tuple[float, float, float]
    conditions: Mapping[str, str]
    tested: int

    def record(self) -> dict[str, Any]:
        """Return plain values, for a JSON file."""
        low, high = self.envelope.limits(self.limit)
        columns = zip(
            self.envelope.names,
            *(getattr(self.envelope, name) for name in LIKE_CLEAN),
            *(low, high),
            strict=True,
        )
        keys = (*LIKE_CLEAN, "low", "high")
        return {
            "format": FORMAT,
            "kind": "medrobust gate",
            **self.about,
            "images": dict(self.images),
            "measures": {n: dict(zip(keys, map(float, v), strict=True)) for n, *v in columns},
            "in_logs": sorted(self.envelope.logs),
            "limit": self.limit,
            "promise": {**asdict(self.promise), "held_out": list(self.promise.held_out)},
            "conditions": dict(self.conditions),
            "tested": self.tested,
            "tests": [asdict(step) for step in self.steps],
            "clean_kept": list(self.clean_kept),
            "sentence": self.sentence,
        }

    @property
    def proven(self) -> Step:
        """The test of the limit that was taken."""
        return next(step for step in reversed(self.steps) if step.limit == self.limit)

    @property
    def sentence(self) -> str:
        """What is promised, for whom, and where it ends."""
        about, promise = self.about, self.promise
        whose = f"images of class {about['of_class']!r}" if about["of_class"] else "images"
        unit = about["unit"]
        shares = (
            f"{100 * promise.clean:g} % clean, the rest in equal parts under "
            f"{counted(len(self.conditions), 'condition')} of the fit"
        )
        mixture = shares if promise.clean < 1 else "all of them clean"
        return (
            f"Among accepted {whose}, {about['model']} errs on at most {100 * promise.alpha:g} % "
            f"(confidence {100 * (1 - promise.delta):g} %; "
            f"{counted(self.proven.errors, 'error')} in "
            f"{counted(self.proven.count, unit)} accepted of {self.tested} tested), for new "
            f"{agreeing(2, unit)} of {about['dataset']}, {mixture}. "
            f"Another site, scanner, corruption, prevalence or model is outside of it: nothing is "
            f"promised there, and `gate report` shows what happens."
        )


def read_gate(record: Mapping[str, Any]) -> Gate:
    """Build a gate from the content of its file.

    Raises:
        ConfigurationError: If it is none, or one of another version.
    """
    version = record.get("format") if record.get("kind") == "medrobust gate" else None
    if isinstance(version, int) and version in FORMER:
        raise ConfigurationError(
            f"this gate is of format {version}, which {FORMER[version]}: fit it again by "
            f"`medrobust gate fit STORE`."
        )
    if version != FORMAT:
        raise ConfigurationError(
            f"this file is no gate of format {FORMAT}: make one by `medrobust gate fit STORE`."
        )
    try:
        measures = record["measures"]
        like_clean = {
            k: np.array([measures[n][k] for n in measures], np.float64) for k in LIKE_CLEAN
        }
        promise = {**record["promise"], "held_out": tuple(record["promise"]["held_out"])}
        low, mean, high = map(float, record["clean_kept"])
        limit, steps = float(record["limit"]), tuple(Step(**step) for step in record["tests"])
        if not any(step.limit == limit for step in steps):
            raise ValueError("its limit is none of those that were tested")
        if not set(record["in_logs"]) <= set(measures):
            raise ValueError("it takes logarithms of measures that it does not have")
        return Gate(
            Envelope(tuple(measures), **like_clean, logs=frozenset(record["in_logs"])),
            limit,
            Promise(**promise),
            steps,
            dict(record["images"]),
            {name: record[name] for name in ABOUT},
            (low, mean, high),
            {str(one): str(name) for one, name in dict(record["conditions"]).items()},
            int(record["tested"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(f"this gate is damaged ({error}): fit it again.") from error


ABOUT = ("model", "adapter", "dataset", "split", "of_class", "row", "unit", "demonstration")
"""Of a gate's file: what it is about."""

LIKE_CLEAN = ("centre", "below", "above", "least", "greatest")
"""Of each measure in a gate's file, as in `Envelope`."""


def accepted(gate: Gate, pair: Pair) -> NDArray[np.bool_]:
    """Return which images of a condition the gate accepts, bool (N,)."""
    values = values_of(pair, gate.envelope.names)
    accepted_: NDArray[np.bool_] = gate.envelope.distances(values).max(axis=1) <= gate.limit
    return accepted_


def values_of(pair: Pair, names: Sequence[str]) -> Float64Array:
    """Return the measures of a gate, float64 (N, M).

    Raises:
        ConfigurationError: If the cells lack one.
    """
    missing = [name for name in names if name not in pair.names]
    if missing:
        raise ConfigurationError(
            f"the cells of {pair.answers.spec.dataset} lack {', '.join(missing)}: run again with "
            f"quality=alone."
        )
    return pair.values[:, [pair.names.index(name) for name in names]]
