"""Where a report goes besides its files: what conf/logger builds."""

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from medrobust.exceptions import ConfigurationError

from .wandb_environment import check_exported

if TYPE_CHECKING:
    from .report import Report


class RunLogger(Protocol):
    """What a file in conf/logger builds."""

    def log(
        self, report: "Report", *, run: Mapping[str, Any], group: str | None, name: str
    ) -> None:
        """Send a finished report to where it should go."""
        ...

    def training(
        self, folder: Path, *, group: str | None, name: str, of: str
    ) -> AbstractContextManager[Any]:
        """Give a logger of Lightning's for the curves of a tuning (False: none), and close it.

        Args:
            folder: Of the job.
            group: Name of the sweep, or None.
            name: Name of the run.
            of: Fingerprint of the adapter that is tuned.
        """
        ...


@dataclass(frozen=True, slots=True)
class FilesOnly:
    """The files of the report are all there is."""

    def log(
        self, report: "Report", *, run: Mapping[str, Any], group: str | None, name: str
    ) -> None:
        """Do nothing: `Report.write` has written the files."""

    def training(
        self, folder: Path, *, group: str | None, name: str, of: str
    ) -> AbstractContextManager[Any]:
        """Draw no curves."""
        return nullcontext(False)


@dataclass(frozen=True, slots=True)
class WandbLogger:
    """Weights & Biases: one run a report, online with an account, offline without.

    Attributes:
        project: Name of the project.
        entity: User or team, None for the account's own.
        group: Groups the runs of a sweep; None takes the one that `log` is given.
        mode: "online" or "offline"; None follows WANDB_MODE, else goes online where WANDB_API_KEY
            or a netrc entry is found, else offline.
        images: Send the example pictures of the store, too.
        weights: Send the weights of tuned adapters, too. Weights may remember what they were tuned
            on, so that for data of patients this is a decision of its own.
        directory: Folder of the offline files, None for the folder of the report.
    """

    project: str = "medrobust"
    entity: str | None = None
    group: str | None = None
    mode: Literal["online", "offline"] | None = None
    images: bool = False
    weights: bool = False
    directory: str | None = None

    def __post_init__(self) -> None:
        """Refuse an unknown mode, and what is exported as W&B does not take it.

        Raises:
            ConfigurationError: If `mode` is neither "online" nor "offline" nor None, or W&B refuses
                a variable of the environment.
        """
        check_exported(os.environ, self.mode)
        if self.mode not in (None, "online", "offline"):
            raise ConfigurationError(
                f"logger.mode={self.mode!r} is none of online, offline and null."
            )

    def log(
        self, report: "Report", *, run: Mapping[str, Any], group: str | None, name: str
    ) -> None:
        """Send tables, matrices and configuration, and finish the run in any case.

        Args:
            report: From `make_report`.
            run: The content of run.json; its `config` is the run's configuration.
            group: Name of the sweep, or None.
            name: Name of the run.
        """
        from .wandb import send

        folder = Path(self.directory) if self.directory else report.folder
        send(self, report, run=run, group=self.group or group, name=name, folder=folder)

    def training(
        self, folder: Path, *, group: str | None, name: str, of: str
    ) -> AbstractContextManager[Any]:
        """Draw the curves of a tuning as a run of its own, of job type "tuning"."""
        from .training import wandb_training

        place = Path(self.directory) if self.directory else folder
        return wandb_training(self, place, group=self.group or group, name=name, of=of)


@dataclass(frozen=True, slots=True)
class SeriesLogger:
    """CSV files or TensorBoard by Lightning's loggers: every column as a series over severity.

    Attributes:
        kind: "csv" or "tensorboard".
    """

    kind: Literal["csv", "tensorboard"] = "csv"

    def __post_init__(self) -> None:
        """Refuse an unknown kind.

        Raises:
            ConfigurationError: If `kind` is neither "csv" nor "tensorboard".
        """
        if self.kind not in ("csv", "tensorboard"):
            raise ConfigurationError(f"logger.kind={self.kind!r} is none of csv and tensorboard.")

    def log(
        self, report: "Report", *, run: Mapping[str, Any], group: str | None, name: str
    ) -> None:
        """Write `SERIES/metrics.csv` or TensorBoard events under the folder of the report.

        Raises:
            MissingDependencyError: If TensorBoard is not installed.
        """
        from .training import series_logger

        logger = series_logger(self.kind, report.folder, self.kind)
        for severity, numbers in sorted(series(report).items()):
            logger.log_metrics(dict(numbers), step=severity)
        logger.finalize("success")

    def training(
        self, folder: Path, *, group: str | None, name: str, of: str
    ) -> AbstractContextManager[Any]:
        """Write the curves of a tuning below `tuning/` in the folder of the job."""
        from .training import series_training

        return series_training(self.kind, folder)


def series(report: "Report") -> dict[int, dict[str, float]]:
    """Return severity -> "SET/SUITE/MODEL/CORRUPTION/METRIC" -> value; clean is severity 0."""
    found: dict[int, dict[str, float]] = {}
    for row in report.results:
        if not row["value"]:
            continue
        model = row["model"] if row["adapter"] == "none" else f"{row['model']}+{row['adapter']}"
        model = row.get("label", model)  # of several rows of a model each has its own
        parts = [row["dataset"], row["suite"], model, row["corruption"], row["metric"]]
        if row["seed"] not in ("", "0"):
            parts.append(f"seed{row['seed']}")
        found.setdefault(int(row["severity"]), {})["/".join(parts)] = float(row["value"])
    return found
