"""The parser that every subcommand builds on."""

import os
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from medrobust.exceptions import ConfigurationError, unknown_name


def subcommand_parser(name: str, about: str, *examples: str, ends: str = "") -> ArgumentParser:
    """Make a parser whose help says what the subcommand does, with commands that can be typed.

    Args:
        name: As typed after `medrobust`.
        about: What it does, lines broken as they shall stand.
        examples: What may follow the name, each a command of its own.
        ends: A last paragraph, such as on the exit status.
    """
    shown = "\n".join(f"  medrobust {name} {example}" for example in examples)
    word = "examples" if len(examples) > 1 else "example"
    return ArgumentParser(
        prog=f"medrobust {name}",
        description=about,
        epilog=f"{word}:\n{shown}" + (f"\n\n{ends}" if ends else ""),
        formatter_class=RawDescriptionHelpFormatter,
    )


def run_job(
    name: str,
    about: str,
    examples: Sequence[str],
    ends: str,
    jobs: Mapping[str, Callable[[Sequence[str]], int]],
    arguments: Sequence[str],
) -> int:
    """Do one of the jobs of a subcommand that has several; return the exit status.

    Args:
        name: Of the subcommand.
        about: As `subcommand_parser` takes it, for the help.
        examples: Likewise.
        ends: Likewise.
        jobs: Word -> what does it.
        arguments: The word, and what follows it.

    Raises:
        UnknownNameError: If there is no such job.
    """
    if not arguments or arguments[0].startswith("-"):
        parser = subcommand_parser(name, about, *examples, ends=ends)
        parser.add_argument("job", choices=list(jobs), help="what to do")
        parser.parse_args(arguments)
    if arguments[0] not in jobs:
        raise unknown_name(f"job of {name}", arguments[0], jobs)
    return jobs[arguments[0]](arguments[1:])


def listed(given: Sequence[str]) -> list[str]:
    """Take lists apart: every name once, in the order given.

    Example:
        >>> listed(["a,b", "b, c"])
        ['a', 'b', 'c']
    """
    parts = (name.strip() for text in given for name in text.split(","))
    return [name for name in dict.fromkeys(parts) if name]


def add_overrides(parser: ArgumentParser, shown: str, *, nargs: str = "*") -> None:
    """Let a subcommand take choices and keys as a run does, `--config-dir DIR` included.

    Args:
        parser: Its arguments must be read by `parse_intermixed_args`.
        shown: What help calls one of them.
        nargs: "+" if there must be one.
    """
    parser.add_argument(
        "-cd",
        "--config-dir",
        action="append",
        default=[],
        metavar="DIR",
        help="options of your own (repeatable)",
    )
    parser.add_argument("overrides", nargs=nargs, metavar=shown)


def as_typed(given: Namespace) -> list[str]:
    """Return what was given for `add_overrides`, in the order in which a run takes it."""
    return [*(f"--config-dir={folder}" for folder in given.config_dir), *given.overrides]


def check_out_folder(given: Path, key: str = "--out") -> None:
    """Refuse a folder that cannot be made, before anything is computed for it.

    Args:
        given: May not be there yet.
        key: What names it.

    Raises:
        ConfigurationError: If it, or a folder that it lies in, is a file.
    """
    place = next((part for part in (given, *given.parents) if os.path.lexists(part)), None)
    if place is not None and not place.is_dir():
        raise ConfigurationError(
            f"{key} {given} is to be a folder, but {place} is a file. Name another."
        )


def check_out_file(given: Path, key: str = "--out") -> None:
    """Refuse a file that cannot be written because a folder stands there, before the work for it.

    Args:
        given: May not be there yet.
        key: What names it.

    Raises:
        ConfigurationError: If it is a folder, or a folder that it lies in is a file.
    """
    if given.is_dir():
        raise ConfigurationError(f"{key} {given} is to be a file, but a folder. Name another.")
    check_out_folder(given.parent, key)
