"""The entry: what people type is answered, run or refused, in one sentence and with a status."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

import medrobust
from medrobust.base.conf_folder import conf_folder
from medrobust.base.console import open_standard_files, patient_streams, why_lost
from medrobust.base.program import program
from medrobust.exceptions import MedRobustError, unknown_name

from . import conf_files, typed
from .mistakes import check_tables
from .option_keys import option_help
from .packs import check_packs
from .subcommands import SUBCOMMANDS
from .surroundings import prepare
from .unforeseen import not_foreseen


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run `medrobust ARGUMENTS` and leave with its status: 0, 1 for an error, 130 for Ctrl-C."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Torch's threads spin while they wait, and on a machine that others use too lose most of their
    # time by it: seen to be five times as slow. Read once, when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    leave(lambda: dispatch(given))


def leave(job: Callable[[], int]) -> NoReturn:
    """Run the job of a command or script and leave with its status, errors said in one sentence."""
    open_standard_files()
    with patient_streams() as streams, _stopped_as_by_hand():
        status = _status(job)
    lost = [why for stream in streams[:1] if (why := why_lost(stream)) is not None]
    if lost and status == 0:
        status = _complain(
            f"not all could be written to standard output ({lost[0]}); files are complete"
        )
    sys.exit(status)


@contextmanager
def _stopped_as_by_hand() -> Iterator[None]:
    """Let a closed terminal and a scheduler stop a command as Ctrl-C does; nohup stays what it is.

    Processes that are forked meanwhile end by these signals, as their owners expect.
    """
    own = os.getpid()

    def stop(number: int, _: object) -> None:
        if os.getpid() == own:
            raise KeyboardInterrupt
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    numbers = [getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP")]  # Windows has one
    ours = [one for one in numbers if one is not None and signal.getsignal(one) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _status(job: Callable[[], int]) -> int:
    """Do the job; return its status, whatever happens."""
    try:
        prepare()
        return job()
    except MedRobustError as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        stopped = "stopped; finished cells are kept, run the same command to go on"
        return _complain(stopped) + 129
    except Exception as error:
        return _complain(not_foreseen(error, Path("outputs")))


def dispatch(given: Sequence[str]) -> int:
    """Answer help, run a subcommand, or hand the arguments to Hydra."""
    word = typed.subcommand(given)
    if word in SUBCOMMANDS:
        return SUBCOMMANDS[word](given[1:])
    if "--version" in given:
        sys.stdout.write(_version())
        return 0
    folders = [*typed.config_dirs(given), conf_folder()]
    if any(flag in given for flag in ("--help", "-h")):
        sys.stdout.write(_help(given, folders))
        return 0
    if word is not None:
        raise unknown_name("command", word, [*SUBCOMMANDS, "KEY=VALUE ... (see --help)"])
    from .hydra_app import run_hydra

    check_packs(typed.config_dirs(given))
    rewritten = typed.rewrite(typed.with_default_job(given))
    known = conf_files.groups(folders)
    typed.check_options(rewritten, known)
    check_tables(rewritten, folders, known)
    return run_hydra(rewritten)


def _version() -> str:
    """Name the releases of this package and of Hydra, which is not imported for it."""
    return f"medrobust {medrobust.__version__}, Hydra {version('hydra-core')}\n"


def _help(given: Sequence[str], folders: Sequence[Path]) -> str:
    """Write the keys of the options that are typed, or all options if none is."""
    check_packs(typed.config_dirs(given))
    known = conf_files.groups(folders)
    rewritten = typed.rewrite(given)
    typed.check_options(rewritten, known)
    named = typed.options_named(rewritten, known)
    if not named:
        return typed.help_text(folders, {word: one.headline for word, one in SUBCOMMANDS.items()})
    blocks = [option_help(folders, group, option, known[group][option]) for group, option in named]
    return "\n".join([*blocks, f"All groups, options and run-wide keys: {program()} --help\n"])


def _complain(sentence: str) -> int:
    sys.stderr.write(f"error: {sentence}\n")
    return 1
