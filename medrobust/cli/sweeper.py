"""A sweep composes the configuration of each of its jobs once.

Hydra composes them all before the first job runs, to refuse what cannot be composed, and each of
them again when its turn comes.
"""

from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

MOST = 200
"""Configurations that are kept; one takes 0.2 megabytes."""

PLUGINS = "hydra._internal.core_plugins"


class ComposedOnce(ConfigLoaderImpl):
    """A loader that hands out at the second request what it has composed for the first."""

    def __init__(self, loader: ConfigLoaderImpl) -> None:
        self.__dict__.update(vars(loader))
        self._kept: dict[tuple[str, ...], DictConfig] = {}

    def load_sweep_config(
        self, master_config: DictConfig, sweep_overrides: list[str]
    ) -> DictConfig:
        """Compose the configuration of a job, or hand out the one that is there."""
        words = tuple(sweep_overrides)
        if words in self._kept:
            return self._kept.pop(words)
        found = super().load_sweep_config(master_config, sweep_overrides)
        if len(self._kept) < MOST:
            self._kept[words] = found
        return found


class JobsComposedOnce(Sweeper):
    """Sweeps as Hydra's own does.

    Args:
        max_batch_size: Of Hydra's own.
        params: Of Hydra's own.
    """

    def __init__(self, max_batch_size: int | None, params: dict[str, str] | None = None) -> None:
        # Imported late: where Hydra looks for plugins, it loads this module once more.
        from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

        self._own = BasicSweeper(max_batch_size, params)

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take the loader that remembers, where jobs run in this process: others get it sent."""
        loader = hydra_context.config_loader
        if config.hydra.launcher._target_ == f"{PLUGINS}.basic_launcher.BasicLauncher":
            assert isinstance(loader, ConfigLoaderImpl)
            hydra_context = HydraContext(ComposedOnce(loader), hydra_context.callbacks)
        self._own.setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments: list[str]) -> Any:
        """Run all jobs."""
        return self._own.sweep(arguments)


def compose_jobs_once() -> None:
    """Let Hydra sweep by the sweeper above, under the name of its own."""
    known = Plugins.instance().class_name_to_class
    known[f"{PLUGINS}.basic_sweeper.BasicSweeper"] = JobsComposedOnce
