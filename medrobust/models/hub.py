"""Where the files of a published model come from: a folder, the hub's cache, or the hub."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeAlias

from medrobust.base.fingerprints import file_fingerprint, fingerprint
from medrobust.base.reasons import named_reason
from medrobust.exceptions import (
    ConfigurationError,
    MedRobustError,
    WeightsMismatchError,
    WeightsNotFoundError,
)

from .settings import last_line

if TYPE_CHECKING:
    from torch import nn

    from .base import LoadReport
    from .loading import Loaded

Names: TypeAlias = tuple[str, ...]
"""Names under which a file may be found; the first that exists is taken."""


class Wanted(NamedTuple):
    """A file that a model needs.

    Attributes:
        names: Paths within the repository; in a folder of the user's their last parts will do.
        hub_id: Repository, if it is not the model's own (a vocabulary published elsewhere).
    """

    names: Names
    hub_id: str = ""


def either(name: str) -> Names:
    """Return the names of a file of weights: converted to safetensors, or as published.

    Example:
        >>> either("checkpoints/model.pth")
        ('checkpoints/model.safetensors', 'checkpoints/model.pth')
    """
    stem, dot, suffix = name.rpartition(".")
    converted = f"{stem}.safetensors"
    return (name,) if not dot or suffix == "safetensors" else (converted, name)


PANIC = "PanicException"
"""What the tokenizers' Rust raises where it has no error: no subclass of Exception."""


def _of_sound_files(load: "Callable[[Any], nn.Module]") -> "Callable[[Any], nn.Module]":
    """Turn what building a model from files of strangers raises into one sentence."""

    @wraps(load)
    def loaded(self: "HubSource") -> "nn.Module":
        try:
            return load(self)
        except (MedRobustError, ImportError):
            raise
        except BaseException as error:
            if not isinstance(error, Exception) and type(error).__name__ != PANIC:
                raise
            named = f"{type(error).__name__}: {last_line(error)}"
            reason = named if str(error).strip() else named_reason(error)
            raise WeightsMismatchError(
                f"the files of model {self.name!r} ({', '.join(self.files())}) do not make a model "
                f"({reason}). Fetch them again."
            ) from error

    return loaded


@dataclass
class HubSource(ABC):
    """Base of the models that are published as files, most of them on the Hugging Face hub.

    Attributes:
        name: In tables and in the store.
        hub_id: Repository on the hub; empty for weights that are published elsewhere.
        revision: Branch, tag or commit of the repository.
        local_dir: Folder that holds the files of the repository; then the hub is never asked.
        micro_batch: Images a forward pass.
        license: Of the weights, as published.
        gated: Whether the publisher grants access on request only.
        resolution: Side of the input in pixels, as published; checked when the model is loaded.
        image_size: Another side of the input, for which position embeddings are interpolated.
        trained_on: Names of the data that the weights have seen, for flags of contamination.
        origin: Where the files are, for those that are not on the hub.
    """

    name: str
    hub_id: str
    revision: str = "main"
    local_dir: str | None = None
    micro_batch: int = 32
    license: str = ""
    gated: bool = False
    resolution: int | None = None
    image_size: int | None = None
    trained_on: Sequence[str] = field(default_factory=tuple)
    origin: str = ""

    FILES: ClassVar[tuple[Names, ...]] = ()
    """Files that the model needs, the weights last."""

    INTERPOLATES: ClassVar[bool] = False
    """Whether position embeddings can be interpolated."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Let what a library makes of damaged or hostile files be one sentence, for each model."""
        super().__init_subclass__(**options)
        if "load" in vars(cls):
            cls.load = _of_sound_files(cls.load)  # type: ignore[assignment, method-assign]

    def wanted(self) -> list[Wanted]:
        """Return the files that the model needs, the weights last."""
        return [Wanted(names) for names in self.FILES]

    def options(self) -> dict[str, Any]:
        """Return the named choices that decide features; part of the fingerprint."""
        return {}

    def files(self) -> dict[str, Path]:
        """Find every file, in the folder or in the cache, else fetch all of them from the hub.

        Returns:
            Name -> path, in the order of `wanted`.

        Raises:
            WeightsNotFoundError: If files are missing; the message names them, says where to get
                them and how to point to them.
        """
        wanted = self.wanted()
        if self.local_dir is not None:
            return self._found(wanted, Path(self.local_dir).expanduser())
        repositories = self._by_repository(wanted)
        cached = {hub_id: self._cached(hub_id, these) for hub_id, these in repositories.items()}
        absent = [w for hub_id, these in repositories.items() if not cached[hub_id] for w in these]
        found: dict[str, Path] = {}
        for hub_id, these in repositories.items():
            paths = cached[hub_id] or self._downloaded(hub_id, these, absent)
            found |= {path.name: path for path in paths}
        names = [_last(name) for entry in wanted for name in entry.names]
        return {name: found[name] for name in names if name in found}

    def peek(self, name: str) -> Path | None:
        """Find one small file of the model's own repository, or None if it cannot be had."""
        if self.local_dir is not None:
            folder = Path(self.local_dir).expanduser()
            return next((path for path in _places(folder, (name,)) if path.is_file()), None)
        if not self.hub_id:
            return None
        entries = [Wanted((name,))]
        try:
            return (
                self._cached(self.hub_id, entries)
                or self._downloaded(self.hub_id, entries, entries)
            )[0]
        except WeightsNotFoundError:
            return None

    def weights_fingerprint(self) -> str:
        """SHA-256 over names and bytes of weights, configuration, tokenizer, and the options."""
        chosen = self.options()
        if self.image_size is not None:
            chosen = {**chosen, "image_size": self.image_size}
        return fingerprint([hashes(self.files()), chosen] if chosen else hashes(self.files()))

    @abstractmethod
    def load(self) -> "nn.Module":
        """Build the model and load its weights strictly, on the CPU, in eval mode."""

    def report(self, files: dict[str, Path], loaded: "Loaded") -> "LoadReport":
        """Write down what was loaded, and from where."""
        from .base import LoadReport

        return LoadReport(
            source=self.hub_id if self.local_dir is None else "local",
            revision=self._commit(files) if self.local_dir is None else "",
            files=hashes(files),
            used=loaded.used,
            renamed=loaded.renamed,
            dropped=loaded.dropped,
            license=self.license,
            trained_on=tuple(self.trained_on),
        )

    def check_resolution(self, size: int | None) -> None:
        """Compare the input size of the files with the one that the configuration states.

        Raises:
            ConfigurationError: If they differ, or another size is asked of a model that has one.
        """
        if self.image_size is not None and not self.INTERPOLATES:
            raise ConfigurationError(
                f"model.image_size={self.image_size}: the position embeddings of "
                f"{type(self).__name__} cannot be interpolated. Leave it out."
            )
        if self.resolution is not None and size != self.resolution:
            raise ConfigurationError(
                f"model {self.name!r}: its files ask for {size} pixels and model.resolution is "
                f"{self.resolution}. Choose the model that the files belong to, or pass "
                f"model.resolution={size}."
            )

    def _by_repository(self, wanted: Sequence[Wanted]) -> dict[str, list[Wanted]]:
        repositories: dict[str, list[Wanted]] = {}
        for entry in wanted:
            repositories.setdefault(entry.hub_id or self.hub_id, []).append(entry)
        if "" in repositories and not self.origin:
            raise WeightsNotFoundError(
                f"model {self.name!r} is any that its loader can read: name one with "
                f"model.hub_id=ORG/NAME or model.local_dir=FOLDER."
            )
        if "" in repositories:
            raise self._not_found(wanted, "here, and the weights are not on the hub")
        return repositories

    def _commit(self, files: dict[str, Path]) -> str:
        """Return the commit of the weights, which the cache keeps as `.../snapshots/COMMIT/`."""
        parts = list(files.values())[-1].parts
        return parts[parts.index("snapshots") + 1] if "snapshots" in parts else self.revision

    def _revision(self, hub_id: str) -> str:
        return self.revision if hub_id == self.hub_id else "main"

    def _found(self, wanted: Sequence[Wanted], folder: Path) -> dict[str, Path]:
        paths = [
            next((path for path in _places(folder, entry.names) if path.is_file()), None)
            for entry in wanted
        ]
        missing = [entry for entry, path in zip(wanted, paths, strict=True) if path is None]
        if missing:
            raise self._not_found(missing, f"in the folder {self.local_dir!r}")
        return {path.name: path for path in paths if path is not None}

    def _cached(self, hub_id: str, wanted: Sequence[Wanted]) -> list[Path]:
        """Return the cached files of one commit, or nothing if one is missing."""
        from huggingface_hub import try_to_load_from_cache

        found = []
        roots = set()
        for names in (entry.names for entry in wanted):
            for name in names:
                path = try_to_load_from_cache(hub_id, name, revision=self._revision(hub_id))
                if isinstance(path, str):
                    found.append(Path(path))
                    roots.add(Path(path).parents[name.count("/")])
                    break
        return found if len(found) == len(wanted) and len(roots) == 1 else []

    def _downloaded(
        self, hub_id: str, wanted: Sequence[Wanted], absent: Sequence[Wanted]
    ) -> list[Path]:
        """Fetch files of one repository; `absent` is all that the message should name."""
        from huggingface_hub import hf_hub_download, model_info
        from huggingface_hub.errors import GatedRepoError

        revision = self._revision(hub_id)
        try:
            # Asked without the retries of a download, which take half a minute where there is no
            # network.
            info = model_info(hub_id, revision=revision, timeout=10)
            published = {file.rfilename for file in info.siblings or ()}
            chosen = [next((n for n in entry.names if n in published), None) for entry in wanted]
            missing = [entry for entry, name in zip(wanted, chosen, strict=True) if not name]
            if missing:
                raise self._not_found(missing, f"in revision {revision!r} on the hub")
            return [
                Path(hf_hub_download(hub_id, name, revision=revision)) for name in chosen if name
            ]
        except WeightsNotFoundError:
            raise
        except GatedRepoError as error:
            raise WeightsNotFoundError(
                f"model {self.name!r}: access to {hub_id} is restricted. Accept its terms on "
                f"its page of the Hugging Face hub and log in with `hf auth login`, or pass "
                f"model.local_dir=FOLDER."
            ) from error
        except Exception as error:  # the HTTP libraries of the hub's versions share no class
            reason = f"in the cache, and the hub cannot be used ({type(error).__name__})"
            raise self._not_found(absent, reason) from error

    def _not_found(self, missing: Sequence[Wanted], where: str) -> WeightsNotFoundError:
        listed = ", ".join(" or ".join(map(_last, entry.names)) for entry in missing)
        repositories = dict.fromkeys(entry.hub_id or self.hub_id for entry in missing)
        places = [f"{name} from the Hugging Face hub" for name in repositories if name]
        if "" in repositories:
            places.insert(0, self.origin or "its repository")
        gated = " (access on request: accept its terms there)" if self.gated else ""
        return WeightsNotFoundError(
            f"model {self.name!r}: {listed} not found {where}. Get the files of "
            f"{' and of '.join(places)}{gated} and pass model.local_dir=FOLDER."
        )


def refuse_absent(name: str, hub_id: str, local_dir: str | None) -> None:
    """Refuse a model whose folder is not there, or that cannot be had while the hub is off.

    Quick to ask, for a command that is mistyped: files are looked for by `HubSource.files`.

    Args:
        name: Of the model.
        hub_id: Repository on the hub; empty for weights that are published elsewhere.
        local_dir: Folder of the files, or None.

    Raises:
        WeightsNotFoundError: Saying what is not there, and what to do.
    """
    place = f"the files of {hub_id} from the Hugging Face hub" if hub_id else "its files"
    if local_dir is not None and not Path(local_dir).expanduser().is_dir():
        raise WeightsNotFoundError(
            f"model {name!r}: there is no folder {local_dir!r}. Get {place} and pass "
            f"model.local_dir=FOLDER."
        )
    if local_dir is not None or not hub_id:
        return
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE) / f"models--{hub_id.replace('/', '--')}"
    off = os.environ.get("HF_HUB_OFFLINE", "").upper() in constants.ENV_VARS_TRUE_VALUES
    if off and not folder.is_dir():
        raise WeightsNotFoundError(
            f"model {name!r}: {hub_id} is not in the cache of the Hugging Face hub, and the hub is "
            f"switched off (HF_HUB_OFFLINE). Get {place} and pass model.local_dir=FOLDER, or bring "
            f"them by `medrobust prefetch FOLDER model={name}` from where there is a network."
        )


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _places(folder: Path, names: Names) -> Iterable[Path]:
    """Return where a file may be in a folder: as in the repository, or right in it."""
    return (folder / place for name in names for place in dict.fromkeys((name, _last(name))))


def hashes(files: dict[str, Path]) -> dict[str, str]:
    """Return file name -> SHA-256 of its bytes."""
    return {
        name: _hash(path, path.stat().st_size, path.stat().st_mtime_ns)
        for name, path in files.items()
    }


@lru_cache(maxsize=256)
def _hash(path: Path, size: int, modified: int) -> str:
    """Hash a file once for each of its versions: weights are asked for before they are loaded."""
    return file_fingerprint(path)
