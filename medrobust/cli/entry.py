"""The entry: what people type becomes jobs, what goes wrong becomes one sentence and a status."""

import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from hydra.experimental.callback import Callback

from medrobust.base.class_arguments import class_arguments
from medrobust.base.conf_folder import conf_folder
from medrobust.base.near_misses import nearest_key
from medrobust.base.wording import counted
from medrobust.cli import typed
from medrobust.exceptions import ConfigurationError, MedRobustError, unknown_name

from .option_keys import option_help, option_keys
from .packs import check_packs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from omegaconf import DictConfig

    from medrobust.jobs.run import Job

log = logging.getLogger(__name__)

QUIET = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "WANDB_ERROR_REPORTING": "false",
}
"""Keeps libraries from reporting to their makers; who wants that sets the variable otherwise."""

FAILURES: list[str] = []
"""What went wrong in the jobs of the running command: Hydra would say it in words of its own."""

LOST = {"BrokenProcessPool", "UncompletedJobError", "WorkerCrashedError", "NodeDiedError"}
"""Errors by which joblib, submitit and Ray say that a process has ended before its job."""


def _verify(arguments: Sequence[str]) -> int:
    from .verify import main

    return main(arguments)


def _doctor(arguments: Sequence[str]) -> int:
    from .doctor import main

    return main(arguments)


SUBCOMMANDS: dict[str, Callable[[Sequence[str]], int]] = {"verify": _verify, "doctor": _doctor}
"""Words that are jobs of their own: name -> function of the arguments after it."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run `medrobust ARGUMENTS` and leave with its status: 0, 1 for an error, 130 for Ctrl-C."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Torch's threads spin while they wait, and on a machine that others use too lose most of their
    # time by it: seen to be five times as slow. Read once, when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    leave(lambda: dispatch(given))


def leave(job: Callable[[], int]) -> NoReturn:
    """Run the job of a command or script and leave with its status, errors said in one sentence."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        status = job()
    except MedRobustError as error:
        status = _complain(str(error))
    except KeyboardInterrupt:
        status = _complain("stopped; finished cells are kept, run the same command to go on") + 129
    sys.exit(status)


def composed(overrides: Sequence[str]) -> "DictConfig":
    """Compose the configuration that a script works with, from what was typed for it.

    Args:
        overrides: As on the command line of run.py, with `--config-dir DIR` for files of one's own.

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
    rewritten = typed.rewrite(typed.without_config_dirs(overrides))
    typed.check_options(rewritten, typed.groups([*folders, conf_folder()]))
    if folders:
        rewritten += [f"hydra.searchpath={[f'file://{folder}' for folder in folders]}"]
    register_resolvers()
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            return compose("config", overrides=rewritten)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigurationError(_explain(error, rewritten)) from error
    except Exception as error:  # Hydra checks little of a file that it reads
        raise _malformed(error) from error


def dispatch(given: Sequence[str]) -> int:
    """Answer help, run a subcommand, or hand the arguments to Hydra."""
    word = typed.subcommand(given)
    if word in SUBCOMMANDS:
        return SUBCOMMANDS[word](given[1:])
    folders = [*typed.config_dirs(given), conf_folder()]
    if any(flag in given for flag in ("--help", "-h")):
        sys.stdout.write(_help(given, folders))
        return 0
    if word is not None:
        raise unknown_name("command", word, [*SUBCOMMANDS, "KEY=VALUE ... (see --help)"])
    check_packs(typed.config_dirs(given))
    rewritten = typed.rewrite(given or ["experiment=demonstration"])
    typed.check_options(rewritten, typed.groups(folders))
    return run_hydra(rewritten)


def _help(given: Sequence[str], folders: Sequence[Path]) -> str:
    """Write the keys of the options that are typed, or all options if none is."""
    check_packs(typed.config_dirs(given))
    known = typed.groups(folders)
    rewritten = typed.rewrite(given)
    typed.check_options(rewritten, known)
    named = typed.options_named(rewritten, known)
    if not named:
        return typed.help_text(folders)
    blocks = [option_help(folders, group, option, known[group][option]) for group, option in named]
    return "\n".join([*blocks, "All groups, options and run-wide keys: python run.py --help\n"])


def run_hydra(overrides: Sequence[str]) -> int:
    """Compose and run, once or as a sweep; every foreseen failure becomes one sentence.

    Raises:
        ConfigurationError: If Hydra refuses a key, a value or a combination.
        MedRobustError: As a job raised it; the other jobs of a sweep have run.
    """
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    register_resolvers()
    FAILURES.clear()
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors come to us, and we say them once
    sys.argv = [sys.argv[0], *overrides, *names_of_jobs(overrides)]
    entry = hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="config")(
        job
    )
    try:
        entry()
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigurationError(_explain(error, overrides)) from error
    except OSError as error:
        if error.filename is None:
            raise
        raise ConfigurationError(
            f"cannot write or read {error.filename} ({error.strerror}). Point hydra.run.dir, "
            f"hydra.sweep.dir or store.dir to a folder that can be written."
        ) from error
    except Exception as error:
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


def _in_a_job(error: Exception) -> bool:
    """Say whether an error came from a job, and not from composing its configuration."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code is job.__code__ for frame, _ in frames)


def _malformed(error: Exception) -> ConfigurationError:
    reason = " ".join(str(error).split())
    return ConfigurationError(
        f"the configuration cannot be composed ({type(error).__name__}: {reason}). See the files "
        f"of --config-dir."
    )


def job(config: "DictConfig") -> None:
    """Run one composed configuration: the function that Hydra calls, once a job.

    A failure of one job of a sweep is left in its folder, for the joint report, and the next job
    runs; what the job has set for the whole process is put back first.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from medrobust.base.process_state import left_as_found
    from medrobust.evaluation.experiment import beside_others
    from medrobust.evaluation.plan import experiment_from_config
    from medrobust.jobs.run import leave_failure, run_job

    register_resolvers()
    hydra = HydraConfig.get()
    number = hydra.job.num if hydra.mode == RunMode.MULTIRUN else None
    with closed_log_file(), left_as_found(), started_from_here():
        try:
            experiment = experiment_from_config(config)
            if number is not None and (launcher := _launcher(hydra)) != "basic":
                experiment = beside_others(experiment, launcher, number)
            run_job(experiment, _job(config, hydra, hydra.runtime.output_dir, number))
        except MedRobustError as error:
            if number is None:
                FAILURES.append(str(error))
            else:
                leave_failure(Path(hydra.runtime.output_dir), number, error.for_records)
        except Exception as error:
            if number is None:
                raise
            log.exception("job %d failed", number)  # the others go on
            leave_failure(
                Path(hydra.runtime.output_dir), number, f"{type(error).__name__}: {error}"
            )


def _launcher(hydra: Any) -> str:
    return str(hydra.runtime.choices.get("hydra/launcher", "basic")).removeprefix("medrobust_")


def _job(config: "DictConfig", hydra: Any, folder: str, number: int | None) -> "Job":
    """Collect what Hydra knows of a job, or of a sweep as a whole."""
    from hydra.types import RunMode

    from medrobust.evaluation.plan import built
    from medrobust.jobs.run import Job

    swept = hydra.mode == RunMode.MULTIRUN
    if not isinstance(config.dry_run, bool):
        raise ConfigurationError(f"dry_run={config.dry_run!r}: write true or false.")
    choices = {str(group): str(option) for group, option in hydra.runtime.choices.items()}
    sources = hydra.runtime.config_sources
    folders = [Path(source.path) for source in sources]
    return Job(
        folder=Path(folder).absolute(),
        logger=built(config, "logger"),
        overrides=tuple(hydra.overrides.task),
        choices=choices,
        preset=typed.experiment_keys(folders, choices.get("experiment", "null")),
        packs=tuple(Path(one.path) for one in sources if one.provider == "command-line"),
        number=number,
        group=Path(hydra.sweep.dir).name if swept else None,
        dry=config.dry_run,
    )


@contextmanager
def started_from_here() -> "Iterator[None]":
    """Read relative paths from the folder the user started in, whatever `hydra.job.chdir` says."""
    from hydra.core.hydra_config import HydraConfig

    inside = Path.cwd()
    os.chdir(HydraConfig.get().runtime.cwd)
    try:
        yield
    finally:
        os.chdir(inside)


@contextmanager
def closed_log_file() -> "Iterator[None]":
    """Close the log file that Hydra opened for a job; it would stay open until the process ends."""
    try:
        yield
    finally:
        root = logging.getLogger()
        for handler in root.handlers[:]:
            if isinstance(handler, logging.FileHandler):
                root.removeHandler(handler)
                handler.close()


def register_resolvers() -> None:
    """Teach OmegaConf `${medrobust.folder:...}`: overrides as a folder name."""
    from omegaconf import OmegaConf

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
        >>> folder_name(3, "corruption=pixelate", "dataset.root=data/mnist")
        '3,corruption=pixelate,dataset.root=data-mnist'
    """
    joined = ",".join(str(part) for part in parts if str(part))
    return "".join(c if c.isalnum() or c in "=,._-+" else "-" for c in joined)[:150]


class JointReport(Callback):
    """After a sweep: one matrix and one report of all its jobs, from the store."""

    def on_multirun_start(self, config: "DictConfig", **_: Any) -> None:
        """Forget the jobs of an earlier sweep that had the same folder."""
        for name in ("plan.json", "run.json", "failed.json"):
            for left_over in Path(config.hydra.sweep.dir).glob(f"*/{name}"):
                left_over.unlink()

    def on_multirun_end(self, config: "DictConfig", **_: Any) -> None:
        """Read what each job planned and write the joint tables to the sweep folder."""
        from omegaconf import OmegaConf

        from medrobust.jobs.run import report_sweep

        shared = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        try:
            FAILURES.extend(report_sweep(_job(shared, config.hydra, config.hydra.sweep.dir, None)))
        except MedRobustError as error:  # Hydra would turn it into a warning
            FAILURES.append(str(error))


def _explain(error: Exception, overrides: Sequence[str]) -> str:
    """Say in one sentence what Hydra refused, with the nearest key where one is meant."""
    text = str(error.__cause__ or error)
    first = str(error).splitlines()[0]
    for override in overrides:
        match = typed.OVERRIDE.match(override)
        if match is None or match["sign"] or f"'{match['key']}'" not in f"{error}{text}":
            continue
        if "not in struct" in text or "Could not override" in first:
            return _no_such_key(match["key"].replace("/", "."), overrides)
    return " ".join(text.split())


def _no_such_key(key: str, overrides: Sequence[str]) -> str:
    """Say that a key does not exist as typed, and which one may be meant.

    Args:
        key: Dotted.
        overrides: All that was typed.
    """
    folders = [*map(Path.absolute, typed.config_dirs(overrides)), conf_folder()]
    groups = typed.groups(folders)
    known, choices = known_keys(overrides, groups)
    lacking = f"there is no configuration key {key!r}"
    if f"+{key}" in known:
        return f"{lacking} in the file of that option, which accepts it: write +{key}=VALUE."
    typed_head, _, rest = key.partition(".")
    head = typed_head
    if rest and head not in [name.split(".")[0] for name in known]:
        owners = [group for group, options in groups.items() if head in options]  # few_shot.shots
        head = next(iter(owners), nearest_key(head, list(groups))) or head
        key = f"{head}.{rest}"
    chosen = choices.get(head)
    list_them = f" `{head}={chosen} --help` lists the keys of {head}." if chosen else ""
    if key in known:
        return f"{lacking}. Did you mean {key!r}?"
    elsewhere = _elsewhere(folders, head, groups.get(head, {}), chosen)
    every = list(dict.fromkeys(name for keys in elsewhere.values() for name in keys))
    near = None if key in every else nearest_key(key, known)
    if near is None and every:
        key = nearest_key(key, every) or key
    having = [option for option, keys in elsewhere.items() if key in keys]
    if near is None and having:
        named = [typed_head] if typed_head in having else having
        what = "it" if repr(key) in lacking else repr(key)
        return (
            f"{lacking} in {head}={chosen}; {head}={_few(named)} "
            f"{'has' if len(named) == 1 else 'have'} {what}."
        )
    if near is not None:
        return f"{lacking}. Did you mean {near!r}?{list_them}"
    return f"{lacking}.{list_them or ' `--cfg job` shows all keys.'}"


def _few(options: Sequence[str], most: int = 3) -> str:
    more = f" and {len(options) - most} more" if len(options) > most else ""
    return ", ".join(options[:most]) + more


def _elsewhere(
    folders: Sequence[Path], group: str, options: "Iterable[str]", chosen: str | None
) -> dict[str, list[str]]:
    """Return what the files of the other options of a group have: option -> keys as typed."""
    found = {}
    for option in options:
        if option != chosen:
            keys = option_keys(folders, group, option)
            found[option] = [key.name for key in keys if key.in_file]
    return found


def known_keys(
    overrides: Sequence[str], groups: "Mapping[str, Mapping[str, str]]"
) -> tuple[list[str], dict[str, str]]:
    """List every key that the chosen options accept, dotted, groups included.

    Keys that a class takes and its file leaves out stand with the `+` that Hydra wants.

    Args:
        overrides: As rewritten; of a sweep the first option of each group counts.
        groups: From `medrobust.cli.typed.groups`.

    Returns:
        The keys, and the options chosen: group -> option.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    chosen = dict(reversed(typed.options_named(overrides, groups)))
    folders = [folder.absolute() for folder in typed.config_dirs(overrides)]
    asked = [f"{group}={option}" for group, option in chosen.items() if group != "hydra/launcher"]
    if folders:
        asked.append(f"hydra.searchpath={[f'file://{folder}' for folder in folders]}")
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = compose("config", overrides=asked, return_hydra_config=True)
    choices = {str(k): str(v) for k, v in config.hydra.runtime.choices.items()}
    keys = [key for key in _keys_below(config, "") if not key.startswith("hydra.")]
    return [*keys, *groups], choices


def _keys_below(node: Any, prefix: str) -> "Iterator[str]":
    """Yield the keys of a configuration, dotted, and those that its classes take besides."""
    from omegaconf import DictConfig

    names = [str(key) for key in node]
    for name in names:
        if name.startswith("_"):
            continue
        yield f"{prefix}{name}"
        value = node._get_node(name)
        if isinstance(value, DictConfig) and not value._is_none() and not value._is_missing():
            yield from _keys_below(value, f"{prefix}{name}.")
    if "_target_" in names:
        for argument in class_arguments(str(node["_target_"]), partial="_partial_" in names):
            if argument.name not in names:
                yield f"+{prefix}{argument.name}"


def _complain(sentence: str) -> int:
    sys.stderr.write(f"error: {sentence}\n")
    return 1
