"""Where the files of a published model come from: a folder, the hub's cache, or the hub."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from medrobust.exceptions import WeightsNotFoundError
from medrobust.fingerprints import file_fingerprint, fingerprint

if TYPE_CHECKING:
    from medrobust.models.base import LoadReport, VisionLanguageModel

Wanted: TypeAlias = tuple[str, ...]
"""Names under which a file may be found; the first that exists is taken."""


@dataclass
class HubSource(ABC):
    """Base of the models that are published as a repository of the Hugging Face hub.

    Attributes:
        name: In tables and in the store.
        hub_id: Repository on the hub.
        revision: Branch, tag or commit of the repository.
        local_dir: Folder that holds the files of the repository; then the hub is never asked.
        micro_batch: Images a forward pass.
        license: Of the weights, as published.
    """

    name: str
    hub_id: str
    revision: str = "main"
    local_dir: str | None = None
    micro_batch: int = 32
    license: str = ""

    FILES: ClassVar[tuple[Wanted, ...]]
    """Files that the model needs, the weights last."""

    def files(self) -> dict[str, Path]:
        """Find every file, in the folder or in the cache, else fetch all of them from the hub.

        Returns:
            Name -> path, in the order of `FILES`.

        Raises:
            WeightsNotFoundError: If files are missing; the message names them, says where to get
                them and how to point to them.
        """
        if self.local_dir is not None:
            return self._found(Path(self.local_dir).expanduser(), f"folder {self.local_dir!r}")
        cached = [self._cached(names) for names in self.FILES]
        paths = [path for path in cached if path is not None]
        if len(paths) < len(self.FILES) or len({path.parent for path in paths}) > 1:
            paths = self._downloaded()
        return {path.name: path for path in paths}

    def weights_fingerprint(self) -> str:
        """SHA-256 over names and bytes of weights, configuration and tokenizer."""
        return fingerprint(hashes(self.files()))

    @abstractmethod
    def load(self) -> "VisionLanguageModel":
        """Build the model and load its weights strictly, on the CPU, in eval mode."""

    def report(
        self,
        files: dict[str, Path],
        used: int,
        renamed: dict[str, str],
        dropped: dict[str, str],
    ) -> "LoadReport":
        """Write down what was loaded, and from where."""
        from medrobust.models.base import LoadReport

        snapshot = next(iter(files.values())).parent
        commit = snapshot.name if snapshot.parent.name == "snapshots" else self.revision
        return LoadReport(
            source=self.hub_id if self.local_dir is None else "local",
            revision=commit if self.local_dir is None else "",
            files=hashes(files),
            used=used,
            renamed=renamed,
            dropped=dropped,
            license=self.license,
        )

    def _found(self, folder: Path, place: str) -> dict[str, Path]:
        found = {
            name: folder / name
            for names in self.FILES
            for name in [next((n for n in names if (folder / n).is_file()), None)]
            if name is not None
        }
        missing = [names for names in self.FILES if not found.keys() & set(names)]
        if missing:
            raise self._not_found(missing, f"in the {place}")
        return found

    def _cached(self, names: Wanted) -> Path | None:
        from huggingface_hub import try_to_load_from_cache

        for name in names:
            path = try_to_load_from_cache(self.hub_id, name, revision=self.revision)
            if isinstance(path, str):
                return Path(path)
        return None

    def _downloaded(self) -> list[Path]:
        from huggingface_hub import hf_hub_download, model_info
        from huggingface_hub.errors import GatedRepoError

        try:
            # Asked without the retries of a download, which take half a minute where there is no
            # network.
            info = model_info(self.hub_id, revision=self.revision, timeout=10)
            published = {file.rfilename for file in info.siblings or ()}
            chosen = [next((n for n in names if n in published), None) for names in self.FILES]
            missing = [names for names, name in zip(self.FILES, chosen, strict=True) if not name]
            if missing:
                raise self._not_found(missing, f"in revision {self.revision!r} on the hub")
            return [
                Path(hf_hub_download(self.hub_id, name, revision=self.revision))
                for name in chosen
                if name
            ]
        except WeightsNotFoundError:
            raise
        except GatedRepoError as error:
            raise WeightsNotFoundError(
                f"model {self.name!r}: access to {self.hub_id} is restricted. Accept its terms on "
                f"its page of the Hugging Face hub and log in with `hf auth login`, or pass "
                f"model.local_dir=FOLDER."
            ) from error
        except Exception as error:  # the HTTP libraries of the hub's versions share no class
            reason = f"in the cache, and the hub cannot be used ({type(error).__name__})"
            raise self._not_found(self.FILES, reason) from error

    def _not_found(self, missing: Sequence[Wanted], where: str) -> WeightsNotFoundError:
        listed = ", ".join(" or ".join(names) for names in missing)
        return WeightsNotFoundError(
            f"model {self.name!r}: {listed} not found {where}. Get the files of {self.hub_id} "
            f"from the Hugging Face hub and pass model.local_dir=FOLDER."
        )


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
