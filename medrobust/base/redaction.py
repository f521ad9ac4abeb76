"""Paths that people type stay on their machine: a folder's name may be a person's."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

KEYS = ("cache_dir", "csv", "dir", "directory", "file", "key_file", "local_dir", "path", "root")
"""Configuration keys that name a place on this machine, also where the path is relative."""

HIDDEN = "<path>"

OF_REPORT = "medrobust report "
"""What follows it is between a store and a folder, which may lie elsewhere."""

_PIECE = r"""(?:'[^']*'|"[^"]*"|[^\s'"])"""
"""A part of a word of a shell: in quotes, or a character."""

_WORD = re.compile(rf"(?P<switch>(?:--out|--config-dir|-cd)[ =])?(?P<word>{_PIECE}+)")

_NAMED = rf"[\w.+]*\b(?:{'|'.join(KEYS)})|--config-dir"
_WHOLE = r"""(?=["']*(?:\S*[,\[])?(?:[/~]|[A-Za-z]:[\\/]))"""
"""What comes before a value of any key that is a whole path, or a list with one in it."""

_KEY = rf"{_NAMED}(?==)|[\w.+@]+(?=={_WHOLE})"
_TYPED = re.compile(rf"(?:(?P<key>{_KEY})={_PIECE}+|'(?P<quoted>{_KEY})=[^']*'{_PIECE}*)")


def without_paths(value: Any, key: str = "") -> Any:
    """Copy plain values with every path replaced.

    Example:
        >>> without_paths({"dataset": {"csv": "ward/labels.csv", "name": "scans"}})
        {'dataset': {'csv': '<path>', 'name': 'scans'}}
    """
    if isinstance(value, Mapping):
        return {str(name): without_paths(item, str(name)) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(item, key) for item in value]
    if isinstance(value, str) and (
        key in KEYS or value.startswith("~") or Path(value).is_absolute()
    ):
        return HIDDEN
    return value


def command_without_paths(command: str) -> str:
    """Replace paths in a command line: of path keys, whole ones, and where a report is between.

    Example:
        >>> command_without_paths("python run.py dataset.csv=ward/l.csv 'model.local_dir=a b' -m")
        'python run.py dataset.csv=<path> model.local_dir=<path> -m'
        >>> command_without_paths("python run.py -m corruption.suite=mine.yaml,/home/me/b.yaml")
        'python run.py -m corruption.suite=<path>'
        >>> command_without_paths("python run.py --config-dir=/home/me/mine model=ours")
        'python run.py --config-dir=<path> model=ours'
        >>> command_without_paths("Name one: medrobust report '/home/o b/store' --out p --light")
        'Name one: medrobust report <path> --out <path> --light'
    """
    before, of_report, words = command.partition(OF_REPORT)
    whole = f"{before}{of_report}{_WORD.sub(_hidden, words)}" if of_report else command
    return _TYPED.sub(lambda found: f"{found['key'] or found['quoted']}={HIDDEN}", whole)


def _hidden(found: re.Match[str]) -> str:
    switch, word = found["switch"] or "", found["word"]
    elsewhere = word.lstrip("'\"").startswith(("/", "~", "..", "\\")) or ":\\" in word
    return f"{switch}{HIDDEN if switch or elsewhere else word}"
