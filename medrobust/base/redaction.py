"""Paths that people type stay on their machine: a folder's name may be a person's."""

import re
from collections.abc import Mapping
from typing import Any

KEYS = (
    *("cache_dir", "csv", "dir", "directory", "file", "key_file", "labeller", "lists"),
    *("local_dir", "path", "root"),
)
"""Configuration keys that name a place on this machine, also where the path is relative."""

_START = r"[/~]|[A-Za-z]:[\\/]|\\\\|\.\.(?:[\\/]|$)|\$\{oc\.env"
"""How a path begins that says where it is."""

_END = r"\.(?:ya?ml|txt)|[\\/][^\\/]*\.(?:csv|json)"
"""How a file of one's own ends, such as of a suite, that any key may name."""

HIDDEN = "<path>"

OF_REPORT = "medrobust report "
"""What follows it is between a store and a folder, which may lie elsewhere."""

_PIECE = r"""(?:'[^']*'|"[^"]*"|[^\s'"])"""
"""A part of a word of a shell: in quotes, or a character."""

_WORD = re.compile(rf"(?P<switch>(?:--out|--config-dir|-cd)[ =])?(?P<word>{_PIECE}+)")

_SETTING = re.compile(
    rf"'(?P<quoted>[\w.+@/~]+)=(?P<inside>[^']*'{_PIECE}*)"
    rf"|(?P<key>--config-dir|[\w.+@/~]+)=(?P<value>{_PIECE}+)"
)
"""What is typed for a key, with the key outside of the quotes or within."""

_PATH = re.compile(rf"(?:{_START}).*|.*(?:{_END})", re.DOTALL)

_HOLDS = re.compile(
    rf"""(?:^|[\[,{{'"]|\w:\s|[{{,]\s*\w+:)\s*(?:{_START})|(?:{_END})(?!\w)"""
    rf"""|[{{,]\s*['"]?(?:{"|".join(KEYS)})['"]?\s*:"""
)
"""Where a path is in a text that Hydra reads: alone, in a list, or in a table."""


def without_paths(value: Any, key: str = "") -> Any:
    """Copy plain values with every path replaced.

    Example:
        >>> without_paths({"dataset": {"csv": "ward/labels.csv", "name": "scans"}})
        {'dataset': {'csv': '<path>', 'name': 'scans'}}
        >>> without_paths([{"suite": "ward/mine.yaml"}, {"suite": "imagenet_c"}])
        [{'suite': '<path>'}, {'suite': 'imagenet_c'}]
    """
    if isinstance(value, Mapping):
        return {str(name): without_paths(item, str(name)) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(item, key) for item in value]
    if isinstance(value, str) and (key in KEYS or _PATH.fullmatch(value)):
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
    return _SETTING.sub(_without_value, whole)


def holds_path(key: str, value: str) -> bool:
    """Say whether what is typed for a key is a path, or a list or table with one in it.

    Example:
        >>> holds_path("corruption.suite", "imagenet_c"), holds_path("corruption.suite", "m.yaml")
        (False, True)
        >>> holds_path("corruption", "{suite: /home/me/m.yaml}"), holds_path("store.dir", "s")
        (True, True)
    """
    return key == "--config-dir" or key.split(".")[-1] in KEYS or bool(_HOLDS.search(value))


def _without_value(found: re.Match[str]) -> str:
    key, value = found["key"] or found["quoted"], found["value"] or found["inside"]
    return f"{key}={HIDDEN}" if holds_path(key, value) else found[0]


def _hidden(found: re.Match[str]) -> str:
    switch, word = found["switch"] or "", found["word"]
    elsewhere = word.lstrip("'\"").startswith(("/", "~", "..", "\\")) or ":\\" in word
    return f"{switch}{HIDDEN if switch or elsewhere else word}"
