"""Where and how one job was started."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medrobust.readings.aggregation import Aggregation
    from medrobust.reporting import RunLogger


@dataclass(frozen=True, slots=True)
class Job:
    """Where and how one job was started.

    Attributes:
        folder: Output folder of the job.
        logger: Gets the report when the job is done.
        overrides: What was typed, without the program's name.
        choices: Config group -> option.
        preset: What an experiment file sets beside its choices, as it would be typed.
        packs: Folders given by `--config-dir`.
        number: Of the job in its sweep, None outside a sweep.
        group: Name of the sweep, None outside a sweep; a sweep as a whole has a group and no
            number.
        dry: Print what would run, and run nothing.
        aggregation: What images are joined to, in tables beside their own; None: to nothing.
    """

    folder: Path
    logger: "RunLogger"
    overrides: tuple[str, ...] = ()
    choices: Mapping[str, str] = field(default_factory=dict)
    preset: tuple[str, ...] = ()
    packs: tuple[Path, ...] = ()
    number: int | None = None
    group: str | None = None
    dry: bool = False
    aggregation: "Aggregation | None" = None

    @property
    def name(self) -> str:
        """What a logger calls its run."""
        if self.group is None:
            return self.folder.name
        own = "summary" if self.number is None else self.folder.name
        return f"{self.group}-{own}"
