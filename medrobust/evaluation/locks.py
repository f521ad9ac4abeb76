"""Which of several processes on one store computes what: locks that fall with their process."""

import logging
from contextlib import suppress
from inspect import signature
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)

FOLDER = ".claims"
"""Holds an empty file for each encoding that is being computed; gone when nothing is."""

NATIVE: dict[str, Any] = (
    {"fallback_to_soft": False}
    if "fallback_to_soft" in signature(FileLock.__init__).parameters
    else {}
)
"""A lock that is only a file would outlive a killed process."""


class Claims:
    """What this process has claimed of a store, so that others compute something else meanwhile.

    A claim is a lock of the operating system: it falls when its process ends, however it ends. It
    saves time and decides nothing. Where a store cannot be locked (a disk without locks, a folder
    that is read-only), every claim is granted, once with a warning, and processes with the same
    plan compute the same cells, one of which lands.

    Args:
        root: Folder of the store.
        sharing: Whether to claim at all; without, everything is granted.
    """

    def __init__(self, root: Path, *, sharing: bool = True) -> None:
        self._folder = root / FOLDER
        self._sharing = sharing
        self._held: dict[str, FileLock] = {}

    def take(self, name: str) -> bool:
        """Claim a name (letters and digits) if nobody else has; a second time is as the first."""
        if not self._sharing or name in self._held:
            return True
        lock = FileLock(self._folder / f"{name}.lock", timeout=0, thread_local=False, **NATIVE)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            return False
        except FileNotFoundError:  # who was last has taken the folder away meanwhile
            return False
        except (OSError, NotImplementedError) as error:
            self._sharing = False
            reason = getattr(error, "strerror", None) or type(error).__name__
            log.warning(
                "the store cannot be locked (%s): other processes that run the same cells now "
                "would compute them too.",
                reason,
            )
            return True
        self._held[name] = lock
        return True

    def drop(self, name: str) -> None:
        """Let others have what was claimed; what was not is left alone."""
        lock = self._held.pop(name, None)
        if lock is None:
            return
        with suppress(OSError):  # Windows removes no open file: an empty one stays
            Path(lock.lock_file).unlink()
        lock.release()

    def ignore(self) -> None:
        """Grant everything from now on, whoever holds it."""
        self._sharing = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Drop everything; the last process takes the folder away."""
        for name in list(self._held):
            self.drop(name)
        with suppress(OSError):  # not empty: others compute; or never made
            self._folder.rmdir()
