"""The command that makes the cells of another model, from what stored cells say of their runs."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medrobust.base.conf_folder import conf_folder
from medrobust.base.fingerprints import canonical_json
from medrobust.base.former_names import FIRST, present_record
from medrobust.base.program import program
from medrobust.base.redaction import HIDDEN, KEYS
from medrobust.evaluation.store import StoredCell
from medrobust.exceptions import MedRobustError, UnknownNameError

from .conf_files import groups, option_file, override_value
from .hydra_app import composed_group
from .typed import config_dirs

PLACEHOLDER = "PATH"
"""Stands for a path that no record keeps."""

OTHERS = ("clip_vit_b16", "biomedclip")
"""Models that a lone one is compared with, the first that is another."""

DEMONSTRATIONS = ("phantomclip_small", "phantomclip")

PLACED = "severity.equalise"
"""Key that says where levels lie that are no published severities."""

RUN_WIDE = {
    "seed": 0,
    "store.features": False,
    "trainer.precision": "32-true",
    "validation": True,
}
"""Keys of a whole run that decide what its cells hold -> their usual value."""


@dataclass(frozen=True)
class CellsCommand:
    """Writes the commands that a report offers for cells that it lacks.

    Attributes:
        store: As it was typed.
        typed: Choices and keys that were typed for the report, with `--config-dir`.
    """

    store: Path
    typed: Sequence[str] = ()

    def __call__(self, model: str, cells: Sequence[StoredCell], prompts: str | None = None) -> str:
        """Write what runs a model under the conditions of cells, into their store.

        Args:
            model: Name of the model.
            cells: Of another one.
            prompts: Prompt set that it shall have; None: its own.

        Returns:
            The commands, joined by `&&`; or why there is none, as the end of a sentence.
        """
        if option_file(self._folders, "model", model) is None:
            return f"no model file has the name {model!r}; all names: {program()} --help"
        commands: dict[str, None] = {}
        wanted: dict[str, None] = {}
        for config, levels in _runs(cells):
            try:
                words = [f"model={model}", *self._words(config, levels)]
            except UnknownNameError as error:
                return str(error)
            words += [f"prompts={prompts}"] if prompts else self._sentences(model, config)
            words += [f"store.dir={override_value(str(self.store))}", *self._config_dirs]
            commands[" ".join([program(), *map(shlex.quote, words)])] = None
            wanted |= dict.fromkeys(word for word in words if word.endswith(f"={PLACEHOLDER}"))
        if not commands:
            return "run it on the same arrays, which only the program that had them can do"
        paths = f" ({' and '.join(wanted)}: no record keeps paths)" if wanted else ""
        return " && ".join(commands) + paths

    def another(self, cells: Sequence[StoredCell]) -> str:
        """Name a model to compare with the only one of some cells: the reference of their runs."""
        model = cells[0].spec.model
        named = (_config(cell).get("reference") for cell in cells)
        usual = DEMONSTRATIONS if model in DEMONSTRATIONS else OTHERS
        return next(str(one) for one in (*named, *usual) if one and one != model)

    def options(self, group: str) -> list[str]:
        """Name the files of options of a group."""
        return list(groups(self._folders).get(group, {}))

    @property
    def _folders(self) -> list[Path]:
        return [*config_dirs(self.typed), conf_folder()]

    @property
    def _config_dirs(self) -> list[str]:
        return [f"--config-dir={folder}" for folder in config_dirs(self.typed)]

    def _words(self, config: Mapping[str, Any], levels: Sequence[int]) -> Iterator[str]:
        groups_of_it = ["dataset", *(["task"] if _kind(config) != FIRST else []), "corruption"]
        for group in groups_of_it:
            yield from self._of_group(group, config[group])
        yield from self._severities(config, levels)
        for key, usual in RUN_WIDE.items():
            value = _at(config, key)
            if value not in (None, usual):
                yield f"{key}={override_value(value)}"

    def _severities(self, config: Mapping[str, Any], levels: Sequence[int]) -> list[str]:
        """Choose the levels; where they lie elsewhere than published ones, where they lie."""
        placed = _at(config, PLACED)
        if placed is None:
            return [f"severity={','.join(map(str, levels))}"]
        if "at" in placed:
            return [f"severity={placed['at']:g}"]
        return self._of_group("severity", {"levels": list(levels), "equalise": placed})

    def _sentences(self, model: str, config: Mapping[str, Any]) -> list[str]:
        """Choose the sentences of the runs where the model's own have their name but differ.

        Cells of such sentences would be about other class texts, and compared with nothing.
        """
        recorded = config.get("prompts")
        if not isinstance(recorded, Mapping) or not recorded.get("name"):
            return []
        choices = [*self._config_dirs, f"model={model}"]
        plain = composed_group(choices, "prompts")
        if plain.get("name") != recorded["name"] or plain == recorded:
            return []
        return self._of_group("prompts", recorded)

    def _of_group(self, group: str, recorded: Mapping[str, Any]) -> list[str]:
        """Choose the option of a group that is nearest to what was recorded, and what differs.

        Raises:
            UnknownNameError: If no option is of that kind.
        """
        options = groups(self._folders)[group]
        names = {recorded.get(key) for key in ("name", "suite", "kind", "flag")}
        likely = [option for option in options if option in names] or list(options)
        found = [self._changed(group, option, recorded) for option in likely]
        if fitting := [words for words in found if words]:
            return min(fitting, key=len)
        raise UnknownNameError(
            f"the runs had {group}._target_={recorded.get('_target_')}, which no file of options "
            f"has; --config-dir DIR names the folder of yours"
        )

    def _changed(self, group: str, option: str, recorded: Mapping[str, Any]) -> list[str]:
        """Write an option and the keys that differ from it; nothing where it is of another kind."""
        choice = f"{group}={option}"
        try:
            plain = composed_group([*self._config_dirs, choice], group)
        except MedRobustError:
            return []
        if plain.get("_target_") != recorded.get("_target_"):
            return []
        words = [choice]
        for key, value in recorded.items():
            given = self._given(f"{group}.{key}") if value == HIDDEN else None
            usual = plain.get(key)
            placed = key in KEYS and usual not in (None, "???")
            if given is not None:
                words.append(given)
            elif value == HIDDEN and (key == "cache_dir" or placed):
                continue
            elif value == HIDDEN:
                words.append(f"{group}.{key}={PLACEHOLDER}")
            elif value != usual:
                added = "" if key in plain else "+"
                words.append(f"{added}{group}.{key}={override_value(value)}")
        return words

    def _given(self, key: str) -> str | None:
        """Return what was typed for a key of the report, as for its table of metadata."""
        return next((word for word in self.typed if word.startswith(f"{key}=")), None)


def _runs(cells: Sequence[StoredCell]) -> list[tuple[Mapping[str, Any], list[int]]]:
    """Sort corrupted cells by what their runs were asked for, each with its severities."""
    found: dict[str, tuple[Mapping[str, Any], set[int]]] = {}
    for cell in cells:
        config = _config(cell)
        if not (config.get("dataset") and config.get("corruption") and cell.spec.severity):
            continue
        keys = ("dataset", "task", "corruption", PLACED, *RUN_WIDE)
        name = canonical_json({key: _at(config, key) for key in keys})
        found.setdefault(name, (config, set()))[1].add(cell.spec.severity)
    return [(config, sorted(levels)) for config, levels in found.values()]


def _at(config: Mapping[str, Any], key: str) -> Any:
    """Return the value of a dotted key, None where there is none."""
    group, _, last = key.rpartition(".")
    return ((config.get(group) or {}) if group else config).get(last)


def _config(cell: StoredCell) -> Mapping[str, Any]:
    recorded = cell.record.get("config")
    return present_record(recorded) if recorded else {}


def _kind(config: Mapping[str, Any]) -> str:
    task = config.get("task") or {}
    own = str(task.get("_target_", "")).rpartition(".")[2].lower()
    return str(task.get("kind", FIRST if own == "task_of" else own or FIRST))
