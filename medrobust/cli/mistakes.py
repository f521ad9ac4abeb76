"""What was probably meant: what Hydra refuses becomes one sentence, with the nearest key."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from medrobust.base.class_arguments import class_arguments
from medrobust.base.conf_folder import conf_folder
from medrobust.base.near_misses import nearest_key
from medrobust.exceptions import ConfigurationError

from . import conf_files, typed
from .option_keys import keys_in_file, option_keys

NO_TABLE = re.compile(r"(?!\{|null$|.*\$\{).+")
"""Values that cannot stand where a table of keys does."""


def check_tables(
    arguments: Sequence[str], folders: Sequence[Path], known: Mapping[str, Mapping[str, str]]
) -> None:
    """Refuse a value in place of a table of keys: `store=FOLDER` for `store.dir=FOLDER`.

    Args:
        arguments: As rewritten.
        folders: Of configuration; earlier ones win.
        known: From `conf_files.groups`.

    Raises:
        ConfigurationError: Naming the keys of the table.
    """
    keys = [key for key, _, _ in conf_files.run_wide_keys(conf_folder() / "config.yaml")]
    for group, option in typed.options_named(arguments, known):
        if not group.startswith("hydra/"):
            keys += keys_in_file(folders, group, option)
    for match in filter(None, map(typed.OVERRIDE.match, arguments)):
        key = match["key"]
        below = [name for name in dict.fromkeys(keys) if name.startswith(f"{key}.")]
        if below and key not in known and NO_TABLE.fullmatch(match["value"]):
            raise ConfigurationError(
                f"{match[0]}: {key} has keys of its own, and a value for one of them is meant: "
                f"{', '.join(below)}."
            )


def explain(error: Exception, overrides: Sequence[str]) -> str:
    """Say in one sentence what Hydra refused, with the nearest key where one is meant."""
    text = str(error.__cause__ or error)
    first = str(error).splitlines()[0]
    for override in overrides:
        match = typed.OVERRIDE.match(override)
        if match is None or match["sign"] or f"'{match['key']}'" not in f"{error}{text}":
            continue
        if "not in struct" in text or "Could not override" in first:
            return no_such_key(match["key"].replace("/", "."), overrides)
    for override in overrides:
        key, equals, value = override.partition("=")
        if f"{equals}{value}" and "override_grammar" in text and override in text:
            return (
                f"{override} cannot be read as KEY=VALUE. A value with special characters stands "
                f"in quotes of its own within those of the shell: '{key}=\"{value}\"'."
            )
    found = re.search(r"^\s*full_key: (\S+)$", text, re.MULTILINE)
    if found is None:
        return " ".join(text.split())
    said = f"{found[1]}: {text.strip().splitlines()[0].strip().rstrip('.')}"
    other = " (the signs ${ name another value of the configuration)" if "nterpol" in said else ""
    return f"{said}{other}."


def no_such_key(key: str, overrides: Sequence[str]) -> str:
    """Say that a key does not exist as typed, and which one may be meant.

    The same key elsewhere comes before a similar one, and the options that were chosen come before
    the other options of the group.

    Args:
        key: Dotted.
        overrides: All that was typed.
    """
    folders = [*map(Path.absolute, typed.config_dirs(overrides)), conf_folder()]
    groups = conf_files.groups(folders)
    known, choices = known_keys(overrides, groups)
    lacking = f"there is no configuration key {key!r}"
    if f"+{key}" in known:
        return f"{lacking} in the file of that option, which accepts it: write +{key}=VALUE."
    meant = _in_a_group(key, known, groups)
    group = meant.partition(".")[0]
    chosen = choices.get(group)
    lists = f" `{group}={chosen} --help` lists the keys of {group}." if chosen else ""
    others = _keys_of_others(folders, group, groups.get(group, {}), chosen)
    for find in (_same_key, nearest_key):
        if found := find(meant, known):
            return f"{lacking}. Did you mean {found!r}?{lists}"
        if found := find(meant, list(dict.fromkeys(chain(*others.values())))):
            options = [option for option, keys in others.items() if found in keys]
            asked = key.partition(".")[0]
            having = _having(group, [asked] if asked in options else options)
            return (
                f"{lacking} in {group}={chosen}; {having} {'it' if found == key else repr(found)}."
            )
    return f"{lacking}.{lists or ' `--cfg job` shows all keys.'}"


def _same_key(key: str, known: Sequence[str]) -> str | None:
    return key if key in known else None


def _in_a_group(key: str, known: Sequence[str], groups: Mapping[str, Mapping[str, str]]) -> str:
    """Put a key below the group that its first word may stand for: an option, or a misspelt group.

    Such as `tuning.shots` for `few_shot.shots`, `dataset.csv` for `datset.csv`.
    """
    head, dot, rest = key.partition(".")
    if not dot or any(name.partition(".")[0] == head for name in known):
        return key
    owners = (group for group, options in groups.items() if head in options)
    group = next(owners, None) or nearest_key(head, list(groups)) or head
    return f"{group}.{rest}"


def _having(group: str, options: Sequence[str], most: int = 3) -> str:
    """Name the options of a group that have something: `task=few_shot has`."""
    more = f" and {len(options) - most} more" if len(options) > most else ""
    verb = "has" if len(options) == 1 else "have"
    return f"{group}={', '.join(options[:most])}{more} {verb}"


def _keys_of_others(
    folders: Sequence[Path], group: str, options: Mapping[str, str], chosen: str | None
) -> dict[str, list[str]]:
    """Return what the files of the other options of a group have: option -> keys as typed."""
    return {
        option: [key.name for key in option_keys(folders, group, option) if key.in_file]
        for option in options
        if option != chosen
    }


def known_keys(
    overrides: Sequence[str], groups: Mapping[str, Mapping[str, str]]
) -> tuple[list[str], dict[str, str]]:
    """List every key that the chosen options accept, dotted, groups included.

    Keys that a class takes and its file leaves out stand with the `+` that Hydra wants.

    Args:
        overrides: As rewritten; of a sweep the first option of each group counts.
        groups: From `medrobust.cli.conf_files.groups`.

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


def _keys_below(node: Any, prefix: str) -> Iterator[str]:
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
