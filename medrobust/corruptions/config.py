"""What the files in conf/corruption build: cheap objects that stand for columns of a table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from medrobust.base.given import check_switch
from medrobust.exceptions import ConfigurationError

from .kernels import KERNELS
from .modality import MEDFM, check_device, device_of, physics_suite
from .suites import (
    REGISTRIES,
    SEVERITIES,
    Entry,
    entry_of,
    find_entry,
    load_suite,
    place_of,
    suite_name,
    suites,
)

if TYPE_CHECKING:
    from torch import Tensor

    from medrobust.base.stored_planes import StoredPlane
    from medrobust.types import IndexBatch, UInt8Batch

    from .shell import Grey
    from .stored import Step

Images = TypeVar("Images")

REGIONS = ("foreground", "disc", "masks")
"""What `region_of` may be; "masks" are those of the data set."""


@dataclass(frozen=True, slots=True)
class Corruption:
    """One corruption of one suite; suite and name identify a column of every table.

    Attributes:
        computed: Always: from the clean images.
        name: As its suite calls it.
        suite: Suite, path of a suite file, or None for the registry of the data set at hand; once
            expanded, the name that tables have.
        grey: "convert" or "rgb", see `corrupt`.
        force: Compute artifacts of a device on images of another, too.
        region: None corrupts the whole image; "mask" only the pixels of a mask, "outside" only the
            others.
        region_of: The mask: "foreground" (by Otsu's threshold) or "disc" (of a fundus), both of the
            clean image; or "masks" of the data set.
        domain: "picture" corrupts the 8 bits that are shown, "stored" what a scanner stored, before
            the image's own window.
    """

    computed: ClassVar[bool] = True

    name: str
    suite: str | None = "imagenet_c"
    grey: "Grey" = "convert"
    force: bool = False
    region: Literal["mask", "outside"] | None = None
    region_of: str = "foreground"
    domain: Literal["picture", "stored"] = "picture"
    _entry: Entry | None = field(default=None, init=False, repr=False, compare=False)
    _masks: "GivenMasks | None" = field(default=None, init=False, repr=False, compare=False)
    _planes: "GivenPlanes | None" = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse a region or a domain that there is not.

        Raises:
            ConfigurationError: Naming the key.
        """
        if self.region not in (None, "mask", "outside"):
            raise ConfigurationError(f"corruption.region={self.region!r} is none of mask, outside.")
        if self.region_of not in REGIONS:
            raise ConfigurationError(
                f"corruption.region_of={self.region_of!r} is none of {', '.join(REGIONS)}."
            )
        check_switch("corruption.force", self.force)
        if self.domain not in ("picture", "stored"):
            raise ConfigurationError(
                f"corruption.domain={self.domain!r} is none of picture, stored."
            )

    @property
    def place(self) -> str:
        """What the name of the suite ends with."""
        return place_of(self.domain, self.region, self.region_of)

    @property
    def needs_masks(self) -> bool:
        """Whether masks of the data set are needed."""
        return self.region is not None and self.region_of == "masks"

    def with_masks(self, masks: "GivenMasks") -> "Corruption":
        """Return the same with the masks of a split."""
        return self._with(_masks=masks)

    def with_planes(self, planes: "GivenPlanes") -> "Corruption":
        """Return the same with the stored values of a split."""
        return self._with(_planes=planes)

    def _with(self, **parts: Any) -> "Corruption":
        """Return the same with what a suite or a split gives it, beside what it has already."""
        given = replace(self, suite=parts.pop("suite", self.suite))
        known = {"_entry": self._entry, "_masks": self._masks, "_planes": self._planes}
        for name, part in (known | parts).items():
            object.__setattr__(given, name, part)
        return given

    def expand(self, registry: str | None, modality: str | None = None) -> "tuple[Corruption, ...]":
        """Resolve the suite for a data set and check that the corruption is in it and suits it.

        What a file of one's own says is read here and kept: a file that changes under a run changes
        none of its pixels.

        Args:
            registry: Registry of MedMNIST-C of the data set, or None.
            modality: Its words for how images were made, "" if it has none; None checks nothing.

        Raises:
            ConfigurationError: If the registry is needed and there is none, or if the corruption is
                an artifact of another device, or has no form on stored values.
            UnknownNameError: If the suite does not have this corruption.
        """
        suite = self.suite or registry
        if suite is None:
            having = [flag for flag in REGISTRIES if self.name in suites(flag)]
            raise ConfigurationError(
                f"corruption {self.name!r} takes the registry of a MedMNIST data set, and this "
                f"data set has none. Choose one by corruption.suite=NAME: {', '.join(having)}."
            )
        plain, entry = suite.removesuffix(self.place), self._entry
        if entry is None:
            entries = load_suite(plain)
            plain = suite_name(plain, entries)
            entry = entry_of(entries, plain, self.name)
        device = KERNELS[entry.kernel].device
        check_device(self.name, device, modality, suite=plain, force=self.force)
        if self.domain == "stored":
            from .stored import refuse_without_form

            refuse_without_form(self.name, entry.kernel)
        return (self._with(suite=plain + self.place, _entry=entry),)

    @property
    def entry(self) -> Entry:
        """What its suite says of it: as it was read when it was expanded."""
        return self._entry or find_entry(self._resolved(), self.name)

    @property
    def device(self) -> str:
        """Whose artifact it is; "" for corruptions of any image."""
        return KERNELS[self.entry.kernel].device

    def identity(self, severity: int, shape: tuple[int, int] = (224, 224)) -> dict[str, Any]:
        """Give the plain values that decide the pixels, besides seed, stream and index.

        The suite is none of them: equal parameters give equal pixels under any suite. A version
        that changed pixels of some sizes alone counts at these.

        Args:
            severity: 1 to 5; 0 for clean.
            shape: Height and width of the stored images.
        """
        from medrobust import keys

        if self.name == "clean":
            return {"name": "clean"}
        entry = self.entry
        return self.place_identity() | {
            "name": self.name,
            "kernel": entry.kernel,
            "parameters": entry.described(severity),
            "version": entry.version_at(severity, shape),
            "grey": self.grey,
            "keys": keys.FORMAT,
        }

    def place_identity(self) -> dict[str, Any]:
        """Give what decides the pixels where it is not the whole picture that is changed."""
        part: dict[str, Any] = {}
        if self.region is not None:
            part["region"] = [self.region, *self._mask_identity()]
        if self.domain == "stored":
            from .stored import VERSION

            part["domain"] = ["stored", VERSION, self._stored().digest]
        return part

    def random(self, severity: int) -> bool:
        """Say whether draws are used at this severity: only then do seed and stream matter."""
        return severity > 0 and self.entry.random

    def images(self, clean: Images, severity: int) -> Images:
        """Return what is read to be corrupted: the clean images."""
        return clean

    def __call__(
        self,
        images: "UInt8Batch",
        *,
        severity: int,
        seed: int = 0,
        stream: str = "",
        index: "IndexBatch",
    ) -> "UInt8Batch":
        """Corrupt a batch; see `corrupt`."""
        if self.domain == "stored" and self.name != "clean":
            step = self.step(severity, seed=seed, stream=stream)
            corrupted = self.of_stored(images, [step], index)
        else:
            corrupted = self._of_picture(images, severity, seed, stream, index)
        if self.region is None or self.name == "clean":
            return corrupted
        from .regions import within

        return within(images, corrupted, self._mask(images, index), self.region)

    def step(self, severity: int, *, seed: int, stream: str) -> "Step":
        """Give the kernel, its parameters and the key of its draws at a published severity.

        Raises:
            ConfigurationError: If there is no such severity.
        """
        from .shell import check_severity, key_of
        from .stored import Step

        check_severity(self.name, severity, SEVERITIES)
        entry = self.entry
        key = key_of(entry.kernel, seed, stream, self.name, severity)
        return Step(entry.kernel, entry.parameters(severity), key)

    def of_stored(
        self, images: "UInt8Batch", steps: Sequence["Step"], index: "IndexBatch"
    ) -> "UInt8Batch":
        """Corrupt the stored values of images by some steps, and show them as the images are."""
        from .shell import rows_of
        from .stored import corrupt_stored

        planes = self._stored().read(index)
        return corrupt_stored(images, planes, steps, rows=rows_of(images, index))

    def _of_picture(
        self, images: "UInt8Batch", severity: int, seed: int, stream: str, index: "IndexBatch"
    ) -> "UInt8Batch":
        from .shell import corrupt, corrupt_by

        keyed: dict[str, Any] = {"severity": severity, "seed": seed, "stream": stream}
        if self.name == "clean":
            return corrupt(images, self.name, index=index, grey=self.grey, **keyed)
        suite = self._resolved()
        return corrupt_by(self.entry, images, suite=suite, index=index, grey=self.grey, **keyed)

    def _stored(self) -> "GivenPlanes":
        if self._planes is None:
            raise ConfigurationError(
                "corruption.domain=stored takes stored values of a data set, which a run has and "
                "this use has not: leave it out here."
            )
        return self._planes

    def _mask(self, images: "UInt8Batch", index: "IndexBatch") -> "Tensor":
        """Return the mask of each image, bool (N, 1, H, W)."""
        from .regions import region_masks

        if not self.needs_masks:
            return region_masks(images, self.region_of)
        return self._given().read(index).to(images.device)

    def _mask_identity(self) -> list[str]:
        if not self.needs_masks:
            return [self.region_of]
        return [self.region_of, self._given().digest]

    def _given(self) -> "GivenMasks":
        if self._masks is None:
            raise ConfigurationError(
                f"corruption.region_of={self.region_of} takes masks of the data set, which a run "
                f"has and this use has not: take foreground or disc here."
            )
        return self._masks

    def _resolved(self) -> str:
        if self.suite is None:
            raise ConfigurationError(
                f"corruption {self.name!r} has no suite yet. Call expand(registry) first."
            )
        return self.suite.removesuffix(self.place)


@dataclass(frozen=True, slots=True)
class GivenMasks:
    """Masks of a split, by the index of its images.

    Attributes:
        digest: Of the masks: part of the fingerprint of the cells that use them.
        read: int64 (n,) -> bool (n, 1, H, W).
    """

    digest: str
    read: "Callable[[IndexBatch], Tensor]"


@dataclass(frozen=True, slots=True)
class GivenPlanes:
    """Stored values of a split, by the index of its images.

    Attributes:
        digest: Of the values and of how each image shows them: part of the fingerprint of cells.
        read: int64 (n,) -> n planes.
    """

    digest: str
    read: "Callable[[IndexBatch], Sequence[StoredPlane]]"


@dataclass(frozen=True, slots=True)
class Suite:
    """All corruptions of a suite, in its order.

    Attributes:
        suite: A suite or path of a suite file; "medmnist_c" for the registry of the data set at
            hand; "all" for imagenet_c and then that registry; "clean" for no corruption at all;
            "physics" for the artifacts of the device that made the data set; "medfm_robust" for its
            basic perturbations and then those of that device.
        grey: "convert" or "rgb", see `corrupt`.
        registry: Also the registry of the data set at hand, as a second block, where it has one.
        force: Compute artifacts of a device on images of another, too.
        region: As of `Corruption`.
        region_of: As of `Corruption`.
        domain: As of `Corruption`; "stored" takes the corruptions that have such a form.
    """

    suite: str
    grey: "Grey" = "convert"
    registry: bool = False
    force: bool = False
    region: Literal["mask", "outside"] | None = None
    region_of: str = "foreground"
    domain: Literal["picture", "stored"] = "picture"

    @property
    def name(self) -> str:
        """What the user types."""
        return self.suite

    def expand(self, registry: str | None, modality: str | None = None) -> tuple[Corruption, ...]:
        """List the columns for a data set.

        Args:
            registry: Registry of MedMNIST-C of the data set, or None.
            modality: Its words for how images were made, "" if it has none; None checks nothing.

        Raises:
            ConfigurationError: If the registry is asked for and there is none, or if a corruption
                is an artifact of another device.
            UnknownNameError: If there is no such suite.
        """
        made = partial(
            Corruption,
            grey=self.grey,
            force=self.force,
            region=self.region,
            region_of=self.region_of,
            domain=self.domain,
        )
        return tuple(
            column
            for suite in self._blocks(registry, modality)
            for name in self._names(suite)
            for column in made(name, suite).expand(registry, modality)
        )

    def _names(self, suite: str) -> list[str]:
        """List the corruptions of a suite; of stored values those that have such a form.

        Raises:
            ConfigurationError: If none of them has.
        """
        names = suites(suite)
        if self.domain != "stored":
            return names
        from .stored import having_form

        return having_form(suite, names)

    def _blocks(self, registry: str | None, modality: str | None) -> Sequence[str]:
        if self.suite == "clean":
            return ()
        if self.suite == "physics":
            return (physics_suite(modality),)
        if self.suite == "medfm_robust":
            block = MEDFM.get(device_of(modality or ""))
            return (self.suite, block) if block else (self.suite,)
        if self.suite == "all" or self.registry:
            first = "imagenet_c" if self.suite == "all" else self.suite
            return (first, registry) if registry else (first,)
        if self.suite != "medmnist_c":
            return (self.suite,)
        if registry is None:
            raise ConfigurationError(
                "corruption=medmnist_c is the registry of a MedMNIST data set, and this data set "
                f"has none. Choose one by corruption.suite=NAME: {', '.join(REGISTRIES)}."
            )
        return (registry,)
