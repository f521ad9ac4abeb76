"""One job as plain parts: what a configuration, a notebook or a test puts together."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from medrobust.adapters import Adapter, NoAdapter
from medrobust.exceptions import ConfigurationError

if TYPE_CHECKING:
    import torch
    from pytorch_lightning import Trainer

    from medrobust.corruptions import Corruption
    from medrobust.datasets.image_set import DatasetSource
    from medrobust.models.base import ModelSource
    from medrobust.models.prompts import PromptSet
    from medrobust.models.speed import Speed
    from medrobust.tasks.tuning import Tuning
    from medrobust.tasks.zero_shot import ZeroShot


class Columns(Protocol):
    """One corruption or a suite of them: what a file in conf/corruption builds."""

    def expand(self, registry: str | None) -> "tuple[Corruption, ...]":
        """Return the corruptions in order, names resolved for the data set's registry."""
        ...


@dataclass(frozen=True, slots=True)
class Experiment:
    """What one job evaluates, and how.

    Attributes:
        model: Source of the model.
        datasets: Sources of the data sets, in table order.
        corruption: One corruption or a suite.
        severities: Levels from 1 to 5, in table order.
        prompts: Prompt set of the zero-shot classifier.
        store: Folder of the store.
        trainer: Builds the Trainer from further keyword arguments.
        precision: Lightning's name of the precision that `trainer` runs in.
        task: Builds the LightningModule from (model, micro_batch).
        adapter: How the model is changed first.
        tuning: How the adapter is tuned before that, or None where nothing is.
        speed: How the image tower runs; None: exactly.
        seed: Of the corruptions.
        batch_size: Images read and corrupted at a time; changes no number.
        num_workers: Processes that read; changes no number.
        reference: Model whose errors normalise CE and mCE.
        resume: Skip finished cells; False computes again and replaces.
        keep_features: Keep image features in the store.
        examples: Keep example pictures; None: of phantoms and public sets only.
        config: The resolved configuration, plain, for the records.
    """

    model: "ModelSource"
    datasets: "tuple[DatasetSource, ...]"
    corruption: Columns
    severities: tuple[int, ...]
    prompts: "PromptSet"
    store: Path
    trainer: "Callable[..., Trainer]"
    precision: str
    task: "Callable[[torch.nn.Module, int], ZeroShot]"
    adapter: Adapter = field(default_factory=NoAdapter)
    tuning: "Tuning | None" = None
    speed: "Speed | None" = None
    seed: int = 0
    batch_size: int = 64
    num_workers: int = 0
    reference: str = "clip_vit_b16"
    resume: bool = True
    keep_features: bool = False
    examples: bool | None = None
    config: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse numbers that no run can have.

        Raises:
            ConfigurationError: Naming the key.
        """
        wrong = [level for level in self.severities if level not in range(1, 6)]
        if wrong or len(set(self.severities)) < len(self.severities):
            raise ConfigurationError(
                f"severity.levels={list(self.severities)}: levels are 1, 2, 3, 4 and 5, each once."
            )
        if self.batch_size < 1 or self.num_workers < 0:
            raise ConfigurationError(
                f"batch_size={self.batch_size} must be at least 1 and num_workers="
                f"{self.num_workers} at least 0."
            )
        if self.seed < 0:
            raise ConfigurationError(f"seed={self.seed} must not be negative.")


def single_device(trainer: "Callable[..., Trainer]") -> "Callable[..., Trainer]":
    """Return a builder for one process on one device, whatever strategy tuning runs with.

    Cells are evaluated by the first process alone: their micro-batches need no other, and a sampler
    of several would read some images twice.
    """
    if not isinstance(trainer, partial) or "strategy" not in trainer.keywords:
        return trainer
    return partial(trainer, strategy="auto", devices=1, num_nodes=1)
