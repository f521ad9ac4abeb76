"""Paths that people type stay on their machine: a folder's name may be a person's."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

KEYS = ("cache_dir", "csv", "dir", "directory", "file", "key_file", "local_dir", "path", "root")
"""Configuration keys that name a place on this machine, also where the path is relative."""

HIDDEN = "<path>"

_NAMED = rf"[\w.+]*\b(?:{'|'.join(KEYS)})|--config-dir"
_TYPED = re.compile(rf"(?:(?P<key>{_NAMED})=[^\s']+|'(?P<quoted>{_NAMED})=[^']*')")


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
    """Replace the values of path keys in a command line.

    Example:
        >>> command_without_paths("python run.py dataset.csv=ward/l.csv 'model.local_dir=a b' -m")
        'python run.py dataset.csv=<path> model.local_dir=<path> -m'
        >>> command_without_paths("python run.py --config-dir=/home/me/mine model=ours")
        'python run.py --config-dir=<path> model=ours'
    """
    return _TYPED.sub(lambda found: f"{found['key'] or found['quoted']}={HIDDEN}", command)
