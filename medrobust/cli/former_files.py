"""Files of options of release 0.1, as Hydra reads them: under present names.

What Hydra composes then has one name for each key, whoever wrote the file, so that a command goes
before an experiment, and an experiment before an adapter, as they did.
"""

from dataclasses import replace
from pathlib import PurePosixPath

from hydra._internal.core_plugins import file_config_source
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult
from omegaconf import OmegaConf

from medrobust.base.former_names import is_recipe_file, present_file


class FileConfigSource(file_config_source.FileConfigSource):
    """Reads files of options, former names as present ones.

    It has the name of Hydra's own, for which it stands in Hydra's list of sources.
    """

    def load_config(self, config_path: str) -> ConfigResult:
        """Read a file."""
        found = super().load_config(config_path)
        plain = OmegaConf.to_container(found.config)
        if not isinstance(plain, dict):
            return found
        content = {str(key): value for key, value in plain.items()}
        group = PurePosixPath(config_path).parent.as_posix()
        whole = found.header.get("package") == "_global_" or group == "."
        present = present_file(content, group, whole=whole)
        if present == content:
            return found
        recipe = group == "task" and not whole and is_recipe_file(content)
        header = {**found.header, "package": "_global_"} if recipe else found.header
        return replace(found, config=OmegaConf.create(present), header=header)


def read_former_files() -> None:
    """Let Hydra read files of options by the source above, in this process and its workers."""
    Plugins.instance()  # it fills the list
    SourcesRegistry.instance().types[FileConfigSource.scheme()] = FileConfigSource
