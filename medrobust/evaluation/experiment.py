"""One job as plain parts: what a configuration, a notebook or a test puts together."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from medrobust.adapters import Adaptation, NoAdapter
from medrobust.exceptions import ConfigurationError

from .run_wide import check_run_wide

if TYPE_CHECKING:
    from pytorch_lightning import Trainer

    from medrobust.corruptions import Between, Corruption, Equalisation
    from medrobust.datasets.image_set import DatasetSource
    from medrobust.models.base import ModelSource
    from medrobust.models.prompts import PromptSet
    from medrobust.models.speed import Speed
    from medrobust.quality import ImageQuality
    from medrobust.tasks.base import Task
    from medrobust.tuning.stage import Stage


class Columns(Protocol):
    """One corruption or a suite of them: what a file in conf/corruption builds."""

    def expand(self, registry: str | None, modality: str | None = None) -> "tuple[Corruption, ...]":
        """Return the corruptions in order, names resolved for the data set's registry."""
        ...


AUTOMATIC, AUTOMATIC_ON_GPU = 64, 512
"""Images read and corrupted at a time with `batch_size=auto`, to begin with."""


@dataclass(frozen=True, slots=True)
class Data:
    """What the model sees.

    Attributes:
        datasets: Sources of the data sets, in table order.
        corruption: One corruption or a suite.
        severities: Levels from 1 to 5, in table order.
        seed: Of the corruptions.
        validation: Also run the clean validation split, for operating points and temperature.
        sanity: Also run blank and noise images, and print what not looking at the image scores.
        audit: Look for repeated pictures, once for the same data.
        quality: Measures that are taken of the images, beside what models answer; None: none.
        equalise: Move severities to where all corruptions change images as much, or to one between
            the published ones; None: published.
    """

    datasets: "tuple[DatasetSource, ...]"
    corruption: Columns
    severities: tuple[int, ...]
    seed: int = 0
    validation: bool = True
    sanity: bool = False
    audit: bool = True
    quality: "ImageQuality | None" = None
    equalise: "Equalisation | Between | None" = None


@dataclass(frozen=True, slots=True)
class AskedModel:
    """The model, how it is changed first, and what is asked of it: all that decides its answers.

    Attributes:
        source: Of the model as published.
        task: What is asked of it.
        prompts: Prompt set of the zero-shot classifier.
        further_prompts: Prompt sets that are applied to the same features, too.
        adapter: How the model is changed; not at all, until a stage has made an adapter.
        stage: What is tuned first, and how; None where nothing is.
        speed: How the image tower runs; None: exactly.
        precision: Lightning's name of the precision that the Trainer runs in.
    """

    source: "ModelSource"
    task: "Task"
    prompts: "PromptSet"
    further_prompts: "tuple[PromptSet, ...]" = ()
    adapter: Adaptation = field(default_factory=NoAdapter)
    stage: "Stage | None" = None
    speed: "Speed | None" = None
    precision: str = "32-true"

    @property
    def prompt_sets(self) -> "tuple[PromptSet, ...]":
        """All prompt sets, in table order."""
        return (self.prompts, *self.further_prompts)


@dataclass(frozen=True, slots=True)
class Where:
    """Where results lie, what of them is kept, and what they are compared with.

    Attributes:
        store: Folder of the store.
        resume: Skip finished cells; False computes again and replaces.
        keep_features: Keep image features in the store.
        examples: Keep example pictures; None: of phantoms and public sets only.
        reference: Model whose errors normalise CE and mCE.
        reference_prompts: Prompt set of the reference; None: the one of the row, or the only one.
    """

    store: Path
    resume: bool = True
    keep_features: bool = False
    examples: bool | None = None
    reference: str = "clip_vit_b16"
    reference_prompts: str | None = None


@dataclass(frozen=True, slots=True)
class How:
    """What computes the cells: it changes no number.

    Attributes:
        trainer: Builds the Trainer from further keyword arguments.
        batch_size: Images read and corrupted at a time, or "auto".
        num_workers: Processes that read.
    """

    trainer: "Callable[..., Trainer]"
    batch_size: int | Literal["auto"] = 64
    num_workers: int = 0

    def images_at_once(self, *, on_gpu: bool = False) -> int:
        """Return the batch size; "auto" is where a run begins that halves it out of memory."""
        if self.batch_size != "auto":
            return self.batch_size
        return AUTOMATIC_ON_GPU if on_gpu else AUTOMATIC


@dataclass(frozen=True, slots=True)
class Experiment:
    """What one job evaluates, and how; callers take the group that they need.

    Attributes:
        data: What the model sees.
        model: The model, and what is asked of it.
        where: Where results lie.
        how: What computes them.
        license: "any", or "commercial": refuse models and data that may not be used commercially.
        config: The resolved configuration, plain, for the records.
    """

    data: Data
    model: AskedModel
    where: Where
    how: How
    license: str = "any"
    config: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse numbers that no run can have.

        Raises:
            ConfigurationError: Naming the key.
        """
        check_run_wide(
            {
                "resume": self.where.resume,
                "store.features": self.where.keep_features,
                "validation": self.data.validation,
                "sanity": self.data.sanity,
                "audit": self.data.audit,
                "store.examples": self.where.examples,
                "seed": self.data.seed,
                "batch_size": self.how.batch_size,
                "num_workers": self.how.num_workers,
                "reference": self.where.reference,
                "severity.levels": self.data.severities,
                "trainer.precision": self.model.precision,
                "license": self.license,
            }
        )
        if self.model.stage is not None and self.model.further_prompts:
            names = ",".join(prompts.name for prompts in self.model.prompt_sets)
            raise ConfigurationError(
                f"tuning=few_shot tunes with one prompt set, got prompts={names}: name one, or add "
                f"-m to tune with each."
            )

    def with_trainer(self, trainer: "Callable[..., Trainer]") -> "Experiment":
        """Return the same with another builder of Trainers."""
        return replace(self, how=replace(self.how, trainer=trainer))


def single_device(trainer: "Callable[..., Trainer]") -> "Callable[..., Trainer]":
    """Return a builder for one process on one device, whatever strategy tuning runs with.

    Processes that share a cell deal out its micro-batches among themselves, each with a Trainer of
    its own: a sampler of Lightning's would read some images twice. `auto` means CUDA if there is a
    device, else the CPU: the draws need float64, which Apple's MPS does not have.

    Raises:
        ConfigurationError: If MPS is asked for.
    """
    import torch

    if not isinstance(trainer, partial):
        return trainer
    from .ranks import OneProcess

    given: dict[str, Any] = {"plugins": [*trainer.keywords.get("plugins", ()), OneProcess()]}
    if "strategy" in trainer.keywords:
        given |= {"strategy": "auto", "devices": 1, "num_nodes": 1}
    accelerator = trainer.keywords.get("accelerator", "auto")
    if accelerator == "mps":
        raise ConfigurationError(
            "trainer.accelerator=mps cannot be used: corruptions are drawn in float64, which it "
            "does not have. Choose cpu or cuda."
        )
    if accelerator == "auto":
        given["accelerator"] = "cuda" if torch.cuda.is_available() else "cpu"
    return partial(trainer, **given)


def beside_others(experiment: Experiment, launcher: str, number: int) -> Experiment:
    """Return a job of a sweep as it runs where the jobs run side by side.

    Job k takes device k modulo the number of devices that its process sees: all of a machine under
    joblib, those that Slurm or Ray gave it else. A trainer that names devices keeps them.

    Args:
        experiment: The job.
        launcher: "joblib", "submitit_local", "submitit_slurm" or "ray".
        number: Of the job in its sweep.

    Raises:
        ConfigurationError: If the job wants several processes where its launcher has one for it.
    """
    import torch

    given = getattr(experiment.how.trainer, "keywords", {})
    if launcher in ("joblib", "ray") and str(given.get("strategy", "auto")).startswith("ddp"):
        raise ConfigurationError(
            f"trainer=ddp runs each job in several processes and hydra/launcher={launcher} several "
            f"jobs beside each other: choose one of them."
        )
    on_gpus = given.get("accelerator", "auto") in ("auto", "gpu", "cuda")
    devices = torch.cuda.device_count() if on_gpus else 0
    if devices < 2 or given.get("devices") != 1:
        return experiment
    trainer = partial(experiment.how.trainer, devices=[number % devices])
    return experiment.with_trainer(trainer)
