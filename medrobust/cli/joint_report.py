"""The one report of all jobs of a sweep."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback

from medrobust.exceptions import MedRobustError
from medrobust.jobs.job_files import failures

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
        try:
            FAILURES.extend(_reported(config))
        except MedRobustError as error:  # Hydra would turn it into a warning
            FAILURES.append(str(error))


def _reported(config: "DictConfig") -> Iterable[str]:
    """Make the joint report, unless no job got as far as a plan; why jobs have failed."""
    from omegaconf import OmegaConf

    folder = Path(config.hydra.sweep.dir)
    if not any(folder.glob("*/plan.json")):
        return failures(folder).values()
    from medrobust.jobs.sweep import report_sweep

    shared = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    return report_sweep(as_job(shared, config.hydra, config.hydra.sweep.dir, None))
