"""What Hydra has read and composed once in this process, it gets again as a copy of its own.

Composing the files of conf/ is most of what a test of a small job does, and these do not change
while tests run. What is typed as a value is applied each time, and files in other folders are read
and composed as ever.
"""

import pickle
import sys
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import version
from hydra._internal import defaults_list
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository, ConfigRepository
from hydra._internal.hydra import Hydra
from hydra._internal.instantiate import _instantiate2
from hydra.core import hydra_config
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigSource
from omegaconf import (
    AnyNode,
    DictConfig,
    ListConfig,
    OmegaConf,
    _utils,
    base,
    basecontainer,
    dictconfig,
    grammar_parser,
    listconfig,
    omegaconf,
)
from omegaconf._utils import OmegaConfDumper
from omegaconf.base import Box

from medrobust.base.conf_folder import conf_folder
from medrobust.cli import conf_files, option_keys

SHIPPED = str(conf_folder())


def shipped(sources: Sequence[ConfigSource]) -> bool:
    """Whether all files are ours or Hydra's own."""
    return all(source.path in (SHIPPED, "") or source.scheme() == "pkg" for source in sources)


def remember(patch: pytest.MonkeyPatch) -> None:
    """Let this process read each file once, and compose each choice of options once."""
    _remember_options(patch)
    _remember_keys(patch)
    _copy_the_list_of_places_alone(patch)
    _remember_files(patch)
    _remember_places(patch)
    _remember_lists(patch)
    _map_only_what_is_looked_up(patch)
    _remember_choices(patch)
    _name_parents_once_a_composition(patch)
    _parse_once(patch)
    _know_plain_values(patch)
    _compose_for_the_mode_only_where_it_is_typed(patch)
    _copy_whole_configurations_by_pickle(patch)
    _share_what_is_of_hydra(patch)
    _instantiate_without_a_second_copy(patch)
    _write_yaml_in_c(patch)
    _look_for_plugins_of_lightning_once(patch)


def _remember_options(patch: pytest.MonkeyPatch) -> None:
    """Which there are, and the first line of each: 600 files."""
    read, known = conf_files.groups, dict[str, dict[str, str]]()

    def groups(folders: Sequence[Path]) -> dict[str, dict[str, str]]:
        if [*map(str, folders)] != [SHIPPED]:
            return read(folders)
        if not known:
            known.update(read(folders))
        return {group: dict(options) for group, options in known.items()}

    patch.setattr(conf_files, "groups", groups)


def _remember_keys(patch: pytest.MonkeyPatch) -> None:
    """Which keys the file of an option has, which every job checks what is typed by."""
    read, known = option_keys._of_files, dict[tuple[str, str], Any]()

    def of_files(folders: Sequence[Path], group: str, option: str) -> Any:
        if [*map(str, folders)] != [SHIPPED]:
            return read(folders, group, option)
        if (group, option) not in known:
            known[group, option] = read(folders, group, option)
        return tuple(copy(one) for one in known[group, option])

    patch.setattr(option_keys, "_of_files", of_files)


def _copy_the_list_of_places_alone(patch: pytest.MonkeyPatch) -> None:
    """A composition may look in other places afterwards, and changes none."""

    def begin(self: CachingConfigRepository, delegate: Any) -> None:
        self.delegate = copy(delegate)
        self.cache = {}

    patch.setattr(CachingConfigRepository, "__init__", begin)


def _remember_files(patch: pytest.MonkeyPatch) -> None:
    """Read each file once; where all places are ours, Hydra copies what it changes of one."""
    read, known = ConfigRepository.load_config, dict[tuple[str, ...], Any]()

    def load_config(self: ConfigRepository, config_path: str) -> Any:
        ours = shipped(self.sources)
        source = self._find_object_source(config_path, ObjectType.CONFIG) if not ours else None
        places = self.sources if ours else [source] if source and shipped([source]) else []
        if not places:
            return read(self, config_path)
        key = (*(f"{place.provider} {place.full_path()}" for place in places), config_path)
        if key not in known:
            known[key] = read(self, config_path)
        return known[key] if ours else pickle.loads(pickle.dumps(known[key]))

    patch.setattr(ConfigRepository, "load_config", load_config)


def _remember_places(patch: pytest.MonkeyPatch) -> None:
    """Each file below its package."""
    load, known = ConfigLoaderImpl._load_single_config, dict[str, bytes]()

    def load_single(self: ConfigLoaderImpl, default: Any, repo: Any) -> Any:
        if isinstance(default, Composed):
            return default
        if not shipped(repo.get_sources()):
            return load(self, default, repo)
        key = repr(default)
        if key not in known:
            known[key] = pickle.dumps(load(self, default, repo))
        return pickle.loads(known[key])

    patch.setattr(ConfigLoaderImpl, "_load_single_config", load_single)


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


@dataclass(frozen=True)
class Composed:
    """Stands for the first files of a list, which are composed."""

    config: DictConfig
    config_path: str


def _remember_choices(patch: pytest.MonkeyPatch) -> None:
    """What these files make together, before any value is typed.

    Hydra's own files and ours that has all defaults come first, and are the same for most choices.
    """
    make, known = ConfigLoaderImpl._compose_config_from_defaults_list, dict[str, bytes]()

    def compose(self: ConfigLoaderImpl, defaults: Any, repo: Any) -> Any:
        if not shipped(repo.get_sources()):
            return make(self, defaults, repo)
        key = repr(defaults)
        if key not in known:
            paths = [default.config_path for default in defaults]
            first = paths.index("config") + 1 if "config" in paths[:-1] else 0
            if first:
                begun = Composed(compose(self, defaults[:first], repo), "config")
                defaults = [begun, *defaults[first:]]
            known[key] = pickle.dumps(make(self, defaults, repo))
        return pickle.loads(known[key])

    patch.setattr(ConfigLoaderImpl, "_compose_config_from_defaults_list", compose)


def _name_parents_once_a_composition(patch: pytest.MonkeyPatch) -> None:
    """Each of 28 files that are merged names the parents of all nodes, who stay the same."""
    name, merge = Box._re_parent, ConfigLoaderImpl._compose_config_from_defaults_list

    def compose(self: ConfigLoaderImpl, defaults: Any, repo: Any) -> Any:
        with pytest.MonkeyPatch.context() as within:
            within.setattr(Box, "_re_parent", lambda self: None)
            made = merge(self, defaults, repo)
        name(made)
        return made

    patch.setattr(ConfigLoaderImpl, "_compose_config_from_defaults_list", compose)


def _parse_once(patch: pytest.MonkeyPatch) -> None:
    """Make the reader of YAML once, not once a file; parse each interpolation and version once."""
    patch.setattr(_utils, "get_yaml_loader", cache(_utils.get_yaml_loader))
    patch.setattr(version, "_get_version", cache(version._get_version))
    for module in (_utils, base):
        patch.setattr(module, "parse", cache(grammar_parser.parse))


def _know_plain_values(patch: pytest.MonkeyPatch) -> None:
    """Of each value, OmegaConf asks several times whether it is a dataclass or one of attrs."""
    ask = _utils.is_structured_config
    plain = {str, int, float, bool, type(None), list, dict, DictConfig, ListConfig, AnyNode}

    def is_structured(value: Any) -> bool:
        return type(value) not in plain and ask(value)

    for module in (_utils, base, basecontainer, dictconfig, listconfig, omegaconf):
        if hasattr(module, "is_structured_config"):
            patch.setattr(module, "is_structured_config", is_structured)


def _compose_for_the_mode_only_where_it_is_typed(patch: pytest.MonkeyPatch) -> None:
    """Only an experiment says that a command is a sweep: Hydra composes all to look for it."""
    ask, tells = Hydra.get_mode, ("hydra.mode", "experiment")

    def get_mode(self: Hydra, config_name: str | None, overrides: list[str]) -> Any:
        ours = shipped(self.config_loader.get_sources())
        if ours and not any(word in text for text in overrides for word in tells):
            return None
        return ask(self, config_name, overrides)

    patch.setattr(Hydra, "get_mode", get_mode)


def _copy_whole_configurations_by_pickle(patch: pytest.MonkeyPatch) -> None:
    """Hydra copies all of a job's configuration three times: node by node, that takes longest."""
    slowly = DictConfig.__deepcopy__

    def deepcopy(self: DictConfig, memo: dict[int, Any]) -> DictConfig:
        content = self._content
        if not isinstance(content, dict):
            return slowly(self, memo)
        nodes = [self, *content.values()]
        parents = [node._get_parent() for node in nodes]
        try:
            for node, parent in zip(nodes, (None, *[self] * len(content)), strict=True):
                node._set_parent(parent)  # that of Hydra's own part is another configuration
            copied: DictConfig = pickle.loads(pickle.dumps(self))
            copied._set_parent(parents[0])
        except (pickle.PicklingError, AttributeError, TypeError):
            copied = slowly(self, memo)
        finally:
            for node, parent in zip(nodes, parents, strict=True):
                node._set_parent(parent)
        return copied

    patch.setattr(DictConfig, "__deepcopy__", deepcopy)


def _share_what_is_of_hydra(patch: pytest.MonkeyPatch) -> None:
    """Each job copies it, read-only by then, to say what it is running as."""

    class Shared(OmegaConf):
        @staticmethod
        def masked_copy(conf: DictConfig, keys: Any) -> DictConfig:
            made = OmegaConf.create()
            made.__dict__["_content"][keys] = conf._get_node(keys)
            return made

    patch.setattr(hydra_config, "OmegaConf", Shared)


def _instantiate_without_a_second_copy(patch: pytest.MonkeyPatch) -> None:
    """Hydra copies what it instantiates, and copies the copy to say how lists are converted.

    Before each object, newer releases hash the list of what they refuse, which stays the same.
    """

    class Once(OmegaConf):
        @staticmethod
        def merge(config: Any, said: Any) -> Any:
            if said.keys() != {"_convert_"}:
                return OmegaConf.merge(config, said)
            config["_convert_"] = said["_convert_"]
            return config

    patch.setattr(_instantiate2, "OmegaConf", Once)
    if hasattr(_instantiate2, "_validated_target_policy"):
        checked = cache(_instantiate2._validated_target_policy)
        patch.setattr(_instantiate2, "_validated_target_policy", checked)


def _write_yaml_in_c(patch: pytest.MonkeyPatch) -> None:
    """Write what a job was configured by with the C library, where this Python has it."""
    if not yaml.__with_libyaml__:
        return

    class Dumper(yaml.CDumper):
        pass

    Dumper.add_representer(str, OmegaConfDumper.str_representer)
    patch.setattr(omegaconf, "get_omega_conf_dumper", lambda: Dumper)


def _look_for_plugins_of_lightning_once(patch: pytest.MonkeyPatch) -> None:
    """Each trainer reads the names of all packages that are installed."""
    if registry := sys.modules.get("lightning_fabric.utilities.registry"):
        patch.setattr(registry, "entry_points", cache(registry.entry_points))
