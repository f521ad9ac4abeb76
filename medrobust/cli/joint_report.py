"""The one report of all jobs of a sweep."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback

from medrobust.exceptions import MedRobustError

from .hydra_app import FAILURES, as_job

if TYPE_CHECKING:
    from omegaconf import DictConfig


class JointReport(Callback):
    """After a sweep: one matrix and one report of all its jobs, from the store."""

    def on_multirun_start(self, config: "DictConfig", **_: Any) -> None:
        """Forget the jobs of an earlier sweep that had the same folder."""
        for name in ("plan.json", "run.json", "failed.json"):
            for left_over in Path(config.hydra.sweep.dir).glob(f"*/{name}"):
                left_over.unlink()

    def on_multirun_end(self, config: "DictConfig", **_: Any) -> None:
        """Read what each job planned and write the joint tables to the sweep folder."""
        from omegaconf import OmegaConf

        from medrobust.jobs.sweep import report_sweep

        shared = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        try:
            FAILURES.extend(
                report_sweep(as_job(shared, config.hydra, config.hydra.sweep.dir, None))
            )
        except MedRobustError as error:  # Hydra would turn it into a warning
            FAILURES.append(str(error))
