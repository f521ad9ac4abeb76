"""What the files in conf/corruption build: cheap objects that stand for columns of a table."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from medrobust.exceptions import ConfigurationError

from .kernels import KERNELS
from .modality import check_device, physics_suite
from .suites import REGISTRIES, find_entry, suites

if TYPE_CHECKING:
    from medrobust.types import IndexBatch, UInt8Batch

    from .shell import Grey

Images = TypeVar("Images")


@dataclass(frozen=True, slots=True)
class Corruption:
    """One corruption of one suite; suite and name identify a column of every table.

    Attributes:
        computed: Always: from the clean images.
        name: As its suite calls it.
        suite: Suite, path of a suite file, or None for the registry of the data set at hand.
        grey: "convert" or "rgb", see `corrupt`.
        force: Compute artifacts of a device on images of another, too.
    """

    computed: ClassVar[bool] = True

    name: str
    suite: str | None = "imagenet_c"
    grey: "Grey" = "convert"
    force: bool = False

    def expand(self, registry: str | None, modality: str | None = None) -> "tuple[Corruption, ...]":
        """Resolve the suite for a data set and check that the corruption is in it and suits it.

        Args:
            registry: Registry of MedMNIST-C of the data set, or None.
            modality: Its words for how images were made, "" if it has none; None checks nothing.

        Raises:
            ConfigurationError: If the registry is needed and there is none, or if the corruption is
                an artifact of another device.
            UnknownNameError: If the suite does not have this corruption.
        """
        suite = self.suite or registry
        if suite is None:
            having = [flag for flag in REGISTRIES if self.name in suites(flag)]
            raise ConfigurationError(
                f"corruption {self.name!r} takes the registry of a MedMNIST data set, and this "
                f"data set has none. Choose one by corruption.suite=NAME: {', '.join(having)}."
            )
        found = replace(self, suite=suite)
        check_device(self.name, found.device, modality, force=self.force)
        return (found,)

    @property
    def device(self) -> str:
        """Whose artifact it is; "" for corruptions of any image."""
        return KERNELS[find_entry(self._resolved(), self.name).kernel].device

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
        entry = find_entry(self._resolved(), self.name)
        return {
            "name": self.name,
            "kernel": entry.kernel,
            "parameters": entry.described(severity),
            "version": entry.version_at(severity, shape),
            "grey": self.grey,
            "keys": keys.FORMAT,
        }

    def random(self, severity: int) -> bool:
        """Say whether draws are used at this severity: only then do seed and stream matter."""
        return severity > 0 and find_entry(self._resolved(), self.name).random

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
        from .shell import corrupt

        suite = "imagenet_c" if self.name == "clean" else self._resolved()
        return corrupt(
            images,
            self.name,
            severity=severity,
            suite=suite,
            seed=seed,
            stream=stream,
            index=index,
            grey=self.grey,
        )

    def _resolved(self) -> str:
        if self.suite is None:
            raise ConfigurationError(
                f"corruption {self.name!r} has no suite yet. Call expand(registry) first."
            )
        return self.suite


@dataclass(frozen=True, slots=True)
class Suite:
    """All corruptions of a suite, in its order.

    Attributes:
        suite: A suite or path of a suite file; "medmnist_c" for the registry of the data set at
            hand; "all" for imagenet_c and then that registry; "clean" for no corruption at all;
            "physics" for the artifacts of the device that made the data set.
        grey: "convert" or "rgb", see `corrupt`.
        registry: Also the registry of the data set at hand, as a second block, where it has one.
        force: Compute artifacts of a device on images of another, too.
    """

    suite: str
    grey: "Grey" = "convert"
    registry: bool = False
    force: bool = False

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
        return tuple(
            column
            for suite in self._blocks(registry, modality)
            for name in suites(suite)
            for column in Corruption(name, suite, self.grey, self.force).expand(registry, modality)
        )

    def _blocks(self, registry: str | None, modality: str | None) -> Sequence[str]:
        if self.suite == "clean":
            return ()
        if self.suite == "physics":
            return (physics_suite(modality),)
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
