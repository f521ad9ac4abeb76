"""What Hydra does for a command: compose its configuration, and run it once or as a sweep."""

import logging
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medrobust.base.collector import imports_at_once
from medrobust.base.conf_folder import conf_folder
from medrobust.base.reasons import named_reason
from medrobust.base.redaction import holds_path
from medrobust.base.wording import counted
from medrobust.exceptions import ConfigurationError, MedRobustError

from . import conf_files, typed
from .mistakes import check_tables, explain
from .packs import check_packs
from .unforeseen import FULL, about_files, not_foreseen, printable_path

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from medrobust.jobs.job import Job

log = logging.getLogger(__name__)

FAILURES: list[str] = []
"""What went wrong in the jobs of the running command: Hydra would say it in words of its own."""

LOST = {"BrokenProcessPool", "UncompletedJobError", "WorkerCrashedError", "NodeDiedError"}
"""Errors by which joblib, submitit and Ray say that a process has ended before its job."""


def composed(overrides: Sequence[str]) -> "DictConfig":
    """Compose the configuration that a script works with, from what was typed for it.

    Args:
        overrides: As for a run, with `--config-dir DIR` for files of one's own.

    Raises:
        ConfigurationError: If Hydra refuses a key or a value.
        UnknownNameError: If an option does not exist; names near ones.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    folders = [folder.absolute() for folder in typed.config_dirs(overrides)]
    check_packs(folders)
    rewritten = typed.without_config_dirs(typed.rewrite(overrides))
    places = [*folders, conf_folder()]
    known = conf_files.groups(places)
    typed.check_options(rewritten, known)
    check_tables(rewritten, places, known)
    if folders:
        rewritten += [f"hydra.searchpath={[f'file://{folder}' for folder in folders]}"]
    prepare_hydra()
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            return compose("config", overrides=rewritten)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigurationError(explain(error, rewritten)) from error
    except Exception as error:  # Hydra checks little of a file that it reads
        raise _malformed(error) from error


def composed_group(overrides: Sequence[str], group: str) -> dict[str, Any]:
    """Compose one group as plain values; those that must be given are "???".

    Args:
        overrides: As for `composed`.
        group: Name of it.

    Raises:
        MedRobustError: As `composed` raises it, or if an interpolation leads nowhere.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        found: Any = OmegaConf.to_container(composed(overrides)[group], resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigurationError(explain(error, list(overrides))) from error
    return dict(found)


def run_hydra(overrides: Sequence[str]) -> int:
    """Compose and run, once or as a sweep; every foreseen failure becomes one sentence.

    Raises:
        ConfigurationError: If Hydra refuses a key, a value or a combination.
        MedRobustError: As a job raised it; the other jobs of a sweep have run.
    """
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    check_folder_for_hydra(Path.cwd())
    prepare_hydra()
    FAILURES.clear()
    sys.argv = [sys.argv[0], *overrides, *names_of_jobs(overrides)]
    entry = hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="config")(
        job
    )
    try:
        entry()
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigurationError(explain(error, overrides)) from error
    except OSError as error:
        if error.filename is None and error.errno not in FULL:
            raise
        raise ConfigurationError(about_files(error)) from error
    except Exception as error:
        if isinstance(error, RuntimeError) and "srun" in str(error):
            raise ConfigurationError(
                "hydra/launcher=submitit_slurm hands jobs to Slurm, and this machine has no srun: "
                "start it where Slurm is, or choose hydra/launcher=submitit_local."
            ) from error
        if not LOST.intersection(kind.__name__ for kind in type(error).__mro__):
            raise
        raise MedRobustError(
            f"a process that ran a job was lost ({type(error).__name__}), with the cell it was "
            f"computing; all finished cells are kept, run the same command to go on"
        ) from error
    if FAILURES:
        more = f" ({counted(len(FAILURES) - 1, 'more job')} failed)" if len(FAILURES) > 1 else ""
        raise MedRobustError(FAILURES[0] + more)
    return 0


def check_folder_for_hydra(folder: Path) -> None:
    """Refuse a folder whose path Hydra would read as an interpolation, and lead files elsewhere.

    Args:
        folder: The current one.

    Raises:
        ConfigurationError: Naming it.
    """
    if "${" in str(folder):
        raise ConfigurationError(
            f"the path of the current folder, {printable_path(folder)}, has the signs ${{ in it, "
            f"by which configurations name another value. Rename it, or run in another folder."
        )


def _malformed(error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"the configuration cannot be composed ({named_reason(error)}). See the files "
        f"of --config-dir."
    )


def job(config: "DictConfig") -> None:
    """Run one composed configuration: the function that Hydra calls, once a job.

    A failure of one job of a sweep is left in its folder, for the joint report, and the next job
    runs; what the job has set for the whole process is put back first.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf.errors import OmegaConfBaseException

    from medrobust.base.console import patient_streams

    from .first_look import first_look

    prepare_hydra()
    hydra = HydraConfig.get()
    number = hydra.job.num if hydra.mode == RunMode.MULTIRUN else None
    with patient_streams(), closed_log_file(), started_from_here():
        try:
            first_look(config)
            _run(config, hydra, number)
        except MedRobustError as error:
            if number is None:
                FAILURES.append(str(error))
            else:
                _leave(error.for_records, hydra, number)
        except Exception as error:
            if isinstance(error, OmegaConfBaseException):  # of an interpolation that is read late
                said = explain(error, [])
            else:
                said = not_foreseen(error, Path(hydra.runtime.output_dir))
            if number is None:
                FAILURES.append(said)
            else:  # the others go on
                log.error("job %d failed: %s", number, said)
                _leave(named_reason(error), hydra, number)
    if FAILURES and number is None:
        _remove_if_empty(hydra)


def _run(config: "DictConfig", hydra: Any, number: int | None) -> None:
    """Run a job that has passed the first look: from here on torch is imported."""
    with imports_at_once():
        from medrobust.base.process_state import left_as_found
        from medrobust.evaluation.config import experiment_from_config
        from medrobust.evaluation.experiment import beside_others

    with left_as_found():
        with imports_at_once():
            experiment = experiment_from_config(config)
            from medrobust.jobs.run import run_job

        if number is not None and (launcher := _launcher(hydra)) != "basic":
            experiment = beside_others(experiment, launcher, number)
        run_job(experiment, as_job(config, hydra, hydra.runtime.output_dir, number))


def _remove_if_empty(hydra: Any) -> None:
    """Remove the folder of a run that has written nothing, unless it was named or is the current.

    What Hydra itself has put there is what was typed.
    """
    folder = Path(hydra.runtime.output_dir).absolute()
    named = any(word.partition("=")[0] == "hydra.run.dir" for word in hydra.overrides.hydra)
    if named or folder == Path.cwd():
        return
    written = (path for path in folder.glob("*") if path.name != ".hydra" and path.stat().st_size)
    if not any(written):
        shutil.rmtree(folder, ignore_errors=True)


def _leave(reason: str, hydra: Any, number: int) -> None:
    from medrobust.jobs.job_files import leave_failure

    leave_failure(Path(hydra.runtime.output_dir), number, reason)


def _launcher(hydra: Any) -> str:
    return str(hydra.runtime.choices.get("hydra/launcher", "basic")).removeprefix("medrobust_")


def as_job(config: "DictConfig", hydra: Any, folder: str, number: int | None) -> "Job":
    """Collect what Hydra knows of a job, or of a sweep as a whole."""
    from hydra.types import RunMode

    from medrobust.evaluation.building import built
    from medrobust.jobs.job import Job

    swept = hydra.mode == RunMode.MULTIRUN
    choices = {str(group): str(option) for group, option in hydra.runtime.choices.items()}
    sources = hydra.runtime.config_sources
    folders = [Path(source.path) for source in sources]
    return Job(
        folder=Path(folder).absolute(),
        logger=built(config, "logger"),
        overrides=tuple(hydra.overrides.task),
        choices=choices,
        preset=conf_files.experiment_keys(folders, choices.get("experiment", "null")),
        packs=tuple(Path(one.path) for one in sources if one.provider == "command-line"),
        number=number,
        group=Path(hydra.sweep.dir).name if swept else None,
        dry=config.dry_run is True,
        aggregation=built(config, "aggregate") if config.get("aggregate") else None,
    )


@contextmanager
def started_from_here() -> Iterator[None]:
    """Read relative paths from the folder the user started in, whatever `hydra.job.chdir` says."""
    from hydra.core.hydra_config import HydraConfig

    inside = Path.cwd()
    os.chdir(HydraConfig.get().runtime.cwd)
    try:
        yield
    finally:
        os.chdir(inside)


@contextmanager
def closed_log_file() -> Iterator[None]:
    """Close the log file that Hydra opened for a job; it would stay open until the process ends."""
    try:
        yield
    finally:
        root = logging.getLogger()
        for handler in root.handlers[:]:
            if isinstance(handler, logging.FileHandler):
                root.removeHandler(handler)
                handler.close()


def prepare_hydra() -> None:
    """Teach it former names in files, sweeps that compose a job once, and names of folders."""
    from omegaconf import OmegaConf

    from .former_files import read_former_files
    from .sweeper import compose_jobs_once

    read_former_files()
    compose_jobs_once()
    OmegaConf.register_new_resolver("medrobust.folder", folder_name, replace=True)


def names_of_jobs(overrides: Sequence[str]) -> list[str]:
    """Leave out of the names of a sweep's jobs what all of them have in common.

    Names are cut to a length that every file system takes: what tells jobs apart must be in it.

    Args:
        overrides: As rewritten.

    Returns:
        An override of Hydra's; none outside a sweep, or where Hydra will refuse what was typed.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException
    from omegaconf import OmegaConf

    key = "hydra.job.config.override_dirname.exclude_keys"
    words = [word for word in overrides if not word.startswith("-")]
    if len(words) == len(overrides) or any(word.startswith(key) for word in words):
        return []
    try:
        parsed = OverridesParser.create().parse_overrides(words)
    except HydraException:
        return []
    if not any(one.is_sweep_override() for one in parsed):
        return []
    ours = OmegaConf.select(OmegaConf.load(conf_folder() / "config.yaml"), key)
    common = [one.get_key_element() for one in parsed if not one.is_sweep_override()]
    listed = ",".join(f"'{name}'" for name in dict.fromkeys([*ours, *common]))
    return [f"{key}=[{listed}]"]


def folder_name(*parts: Any) -> str:
    """Join a job's number and overrides to a name that every file system takes.

    Example:
        >>> folder_name(3, "corruption=pixelate", "dataset.limit=9")
        '3,corruption=pixelate,dataset.limit=9'
        >>> folder_name(0, "corruption.suite=ward/mine.yaml,severity=s3")
        '0,corruption.suite=mine.yaml,severity=s3'
    """
    joined = ",".join(str(part) for part in parts if str(part))
    named = ",".join(map(_last_part, re.split(r",(?=[+~]*[\w./@]+=)", joined)))
    return "".join(c if c.isalnum() or c in "=,._-+" else "-" for c in named)[:150]


def _last_part(setting: str) -> str:
    """Leave of a value with a path in it what comes after the last folder."""
    key, equals, value = setting.partition("=")
    if not holds_path(key, value):
        return setting
    last = value.rstrip("\\/").replace("\\", "/").rpartition("/")[2]
    return f"{key}{equals}{last}"
