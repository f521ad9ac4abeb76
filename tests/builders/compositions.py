"""What Hydra has read and composed once in this process, it gets again as a copy of its own.

Composing the files of conf/ is most of what a test of a small job does, and these do not change
while tests run. What is typed as a value is applied each time, and files in other folders are read
and composed as ever.
"""

import pickle
from collections.abc import Sequence
from typing import Any

import pytest
from hydra._internal import defaults_list
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.plugins.config_source import ConfigSource

from medrobust.base.conf_folder import conf_folder
from medrobust.cli.former_files import FileConfigSource

SHIPPED = str(conf_folder())


def shipped(sources: Sequence[ConfigSource]) -> bool:
    """Whether all files are ours or Hydra's own."""
    return all(source.path in (SHIPPED, "") or source.scheme() == "pkg" for source in sources)


def remember(patch: pytest.MonkeyPatch) -> None:
    """Let this process read each file once, and compose each choice of options once."""
    _remember_files(patch)
    _remember_lists(patch)
    _map_only_what_is_looked_up(patch)
    _remember_choices(patch)


def _remember_files(patch: pytest.MonkeyPatch) -> None:
    read, known = FileConfigSource.load_config, dict[tuple[str, str], bytes]()

    def load_config(self: FileConfigSource, config_path: str) -> Any:
        if self.path != SHIPPED:
            return read(self, config_path)
        key = (self.provider, config_path)
        if key not in known:
            known[key] = pickle.dumps(read(self, config_path))
        return pickle.loads(known[key])

    patch.setattr(FileConfigSource, "load_config", load_config)


def _remember_lists(patch: pytest.MonkeyPatch) -> None:
    """Which files, in which order: what follows from the options that are chosen."""
    make, known = defaults_list._create_defaults_list, dict[str, bytes]()

    def create(repo: Any, config_name: Any, overrides: Any, *given: Any, **more: Any) -> Any:
        if not shipped(repo.get_sources()):
            return make(repo, config_name, overrides, *given, **more)
        values = overrides.config_overrides
        state = {**vars(overrides), "config_overrides": []}
        key = repr((config_name, state, given, more))
        if key not in known:
            made = make(repo, config_name, overrides, *given, **more)
            known[key] = pickle.dumps((made, {**vars(overrides), "config_overrides": []}))
        made, state = pickle.loads(known[key])
        vars(overrides).update({**state, "config_overrides": values})
        return made

    patch.setattr(defaults_list, "_create_defaults_list", create)


def _map_only_what_is_looked_up(patch: pytest.MonkeyPatch) -> None:
    """Leave out the table of choices where no entry of a list of defaults refers to it."""
    make = defaults_list._create_interpolation_map

    def create(overrides: Any, defaults: Sequence[Any], self_added: bool) -> Any:
        asked = any(not one.is_self() and one.is_interpolation() for one in defaults)
        return make(overrides, defaults, self_added) if asked else None

    patch.setattr(defaults_list, "_create_interpolation_map", create)


def _remember_choices(patch: pytest.MonkeyPatch) -> None:
    """What these files make together, before any value is typed."""
    make, known = ConfigLoaderImpl._compose_config_from_defaults_list, dict[str, bytes]()

    def compose(self: ConfigLoaderImpl, defaults: Any, repo: Any) -> Any:
        if not shipped(repo.get_sources()):
            return make(self, defaults, repo)
        key = repr(defaults)
        if key not in known:
            known[key] = pickle.dumps(make(self, defaults, repo))
        return pickle.loads(known[key])

    patch.setattr(ConfigLoaderImpl, "_compose_config_from_defaults_list", compose)
