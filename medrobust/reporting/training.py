"""Curves of a tuning, step by step, in a logger of Lightning's that is closed in any case."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from medrobust.exceptions import MissingDependencyError

from .wandb import quiet_settings, run_id
from .wandb_environment import account_mode

if TYPE_CHECKING:
    from .loggers import WandbLogger

FOLDER = "tuning"


def series_logger(kind: Literal["csv", "tensorboard"], folder: Path, name: str) -> Any:
    """Make Lightning's logger of files in FOLDER/NAME/.

    Raises:
        MissingDependencyError: If TensorBoard is not installed.
    """
    from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

    chosen: Any = CSVLogger if kind == "csv" else TensorBoardLogger
    try:
        return chosen(str(folder), name=name, version="")
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "logger=tensorboard needs TensorBoard: pip install 'medrobust[tensorboard]'"
        ) from error


@contextmanager
def series_training(kind: Literal["csv", "tensorboard"], folder: Path) -> Iterator[Any]:
    """Yield a logger of files, and write what it still holds at the end."""
    logger = series_logger(kind, folder, FOLDER)
    try:
        yield logger
    except BaseException:
        logger.finalize("failed")
        raise
    logger.finalize("success")


@contextmanager
def wandb_training(
    settings: "WandbLogger", folder: Path, *, group: str | None, name: str, of: str
) -> Iterator[Any]:
    """Yield a logger whose run opens with the first curve, on rank zero, and finish that run.

    Online with an account and offline without, as the report's own run. The id follows from
    project, group and `of`, the fingerprint of the adapter, so that a tuning that was killed goes
    on in the same run.
    """
    import wandb
    from pytorch_lightning.loggers import WandbLogger as Curves

    folder.mkdir(parents=True, exist_ok=True)
    number = run_id(settings.project, group, FOLDER, of)
    logger = Curves(
        name=f"{name} {FOLDER}",
        save_dir=str(folder),
        id=number,
        project=settings.project,
        entity=settings.entity,
        group=group,
        job_type=FOLDER,
        resume="allow",
        mode=settings.mode or account_mode(),
        settings=quiet_settings(),
    )
    getattr(logger, "_wandb_init", {}).pop("anonymous", None)  # W&B warns of it, whatever it is
    exit_code = 1
    try:
        yield logger
        exit_code = 0
    finally:
        if wandb.run is not None and wandb.run.id == number:
            wandb.run.finish(exit_code=exit_code)
