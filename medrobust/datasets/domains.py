"""Leave one domain out: tuned on all domains of a set but one, judged on that one.

A domain is what a metadata column says: the site, the scanner, the centre. Training and validation
splits keep the images of the other domains, the evaluated split those of the one left out.
"""

import logging
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from medrobust.base.findings import Finding
from medrobust.base.fingerprints import fingerprint
from medrobust.base.missing import is_missing
from medrobust.base.once import say_once
from medrobust.base.wording import counted
from medrobust.exceptions import ConfigurationError, unknown_name

from .audits.findings import finished
from .cache import cache_of
from .image_set import DatasetSource, ImageSet, judged_by

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LeftOut:
    """A data set whose evaluated split has one domain, and whose other splits have the others.

    What else a source tells is asked of the one below.

    Attributes:
        source: All domains, without a limit.
        domain: Metadata column.
        left_out: Its value in the images that are judged.
        limit: A stratified part of at most so many images, of what is left.
    """

    source: DatasetSource
    domain: str
    left_out: str
    limit: int | None = None

    def __getattr__(self, name: str) -> Any:
        """Ask the source."""
        if name.startswith("__") or name == "members":
            raise AttributeError(name)
        return getattr(self.source, name)

    @property
    def name(self) -> str:
        """In tables and in the store: each domain that is left out has rows of its own."""
        return f"{self.source.name} {self.left_out} left out"

    @property
    def suite(self) -> str | None:
        """Registry of MedMNIST-C of the set."""
        return self.source.suite

    @property
    def split(self) -> str:
        """The split that is evaluated."""
        return self.source.split

    def judged(self, target: str) -> "LeftOut":
        """Return it with what a task judges images by.

        Raises:
            ConfigurationError: If the data set has none of it.
        """
        return replace(self, source=judged_by(self.source, target))

    def load(self, split: str | None = None) -> ImageSet:
        """Open the domain of a split that is judged, or the others of a split that is learned from.

        Raises:
            MedRobustError: As the source raises it.
            ConfigurationError: If there is no such column or domain, no other one, or an image
                whose domain nobody knows.
        """
        whole = self.source.load(split)
        chosen = restricted(whole, self.domain, self.left_out, judged=whole.split == self.split)
        return finished(
            replace(chosen, name=self.name), limit=self.limit, cache_dir=cache_of(self.source)
        )


def judged(source: DatasetSource, target: str) -> DatasetSource:
    """Return a source with what a task judges images by, see `judged_by`.

    Raises:
        ConfigurationError: If the data set has none of it.
    """
    return source.judged(target) if isinstance(source, LeftOut) else judged_by(source, target)


def with_left_out(dataset: Any, domain: str | None, left_out: object) -> Any:
    """Return a data set with one domain left out; as it is where no domain is named.

    Args:
        dataset: As a file in conf/dataset builds it.
        domain: Metadata column.
        left_out: Value of it.

    Raises:
        ConfigurationError: If one is given without the other, or the data set is several.
    """
    if domain is None and left_out is None:
        return dataset
    if domain is None:
        raise ConfigurationError(
            f"dataset.left_out={left_out} names a domain: say by +dataset.domain=COLUMN where "
            f"the domains stand."
        )
    if left_out is None:
        raise ConfigurationError(
            f"dataset.domain={domain} says where the domains stand: name the one to judge on by "
            f"+dataset.left_out=DOMAIN, or all in turn by -m +dataset.left_out=ONE,OTHER."
        )
    if hasattr(dataset, "members"):
        raise ConfigurationError(
            f"dataset.domain={domain} leaves out a domain of one data set, and several are chosen: "
            f"name one by dataset=NAME."
        )
    source, limit = _with_column(dataset, domain), getattr(dataset, "limit", None)
    if limit is not None:
        source = replace(cast(Any, source), limit=None)
    return LeftOut(source, domain, str(left_out), limit)


def _with_column(source: Any, domain: str) -> Any:
    """Let own data keep the column of the domains."""
    kept = getattr(source, "metadata_columns", None)
    if kept is None or domain in kept or "metadata_columns" not in source.__dataclass_fields__:
        return source
    return replace(source, metadata_columns=(*kept, domain))


def restricted(image_set: ImageSet, domain: str, left_out: str, *, judged: bool) -> ImageSet:
    """Take the images of one domain, or those of the others without its patients.

    Args:
        image_set: A whole split.
        domain: Metadata column.
        left_out: The domain that is judged.
        judged: Whether the split is the one that is judged.

    Raises:
        ConfigurationError: As `LeftOut.load` says.
    """
    domains = _domains_of(image_set, domain)
    own = domains == left_out
    _check(image_set, domains, left_out, judged=judged)
    shared = ~own & _patients_in(image_set, own)
    rows = np.flatnonzero(own if judged else ~own & ~shared)
    found: tuple[Finding, ...] = ()
    if shared.any():
        assert image_set.groups is not None
        patients = counted(len(np.unique(image_set.groups[shared])), "patient")
        images = counted(int(shared.sum()), "image")
        said = (
            f"{patients} of {image_set.split} have images in domain {left_out!r} and in others"
            f"{'' if judged else f': {images} left out of what is learned from'}"
        )
        say_once(log, logging.WARNING, f"{image_set.name}: {said}")
        found = (Finding("patients in two splits", said),)
    if not len(rows):
        raise ConfigurationError(
            f"no image of data set {image_set.name!r}, split {image_set.split!r}, is left to learn "
            f"from: all patients of the other domains have images in {left_out!r}, too."
        )
    of = fingerprint([image_set.fingerprint, "domain", domain, left_out, judged])
    return image_set.take(rows, fingerprint=of, findings=found)


def _domains_of(image_set: ImageSet, domain: str) -> NDArray[np.str_]:
    """Return the domain of each image.

    Raises:
        ConfigurationError: If there is no such column, or an image without a domain.
    """
    if image_set.metadata is None or domain not in image_set.metadata_columns:
        there = ", ".join(image_set.metadata_columns) or "none"
        raise ConfigurationError(
            f"dataset.domain={domain}: data set {image_set.name!r} has no such metadata column. "
            f"It has: {there}."
        )
    found: NDArray[np.str_] = image_set.metadata[:, image_set.metadata_columns.index(domain)]
    unknown = sum(is_missing(one) for one in found.tolist())
    if unknown:
        raise ConfigurationError(
            f"dataset.domain={domain}: {counted(unknown, 'image')} of data set "
            f"{image_set.name!r}, split {image_set.split!r}, name no domain: fill the column in."
        )
    return found


def _check(image_set: ImageSet, domains: NDArray[np.str_], left_out: str, *, judged: bool) -> None:
    """Refuse a domain without images, and one without others to learn from."""
    there = np.unique(domains).tolist()
    where = f"data set {image_set.name!r}, split {image_set.split!r}"
    if judged and left_out not in there:
        raise unknown_name(f"domain of {where} (dataset.left_out)", left_out, there)
    if not judged and there == [left_out]:
        raise ConfigurationError(
            f"dataset.left_out={left_out}: {where}, has images of that domain alone: none is left "
            f"to learn from."
        )


def _patients_in(image_set: ImageSet, own: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Say which images are of a patient who has one of some images."""
    if image_set.groups is None:
        return np.zeros(len(image_set), dtype=bool)
    return np.isin(image_set.groups, np.unique(image_set.groups[own]))
