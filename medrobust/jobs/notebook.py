"""The main job in one call, for a notebook or a script: own model, own arrays."""

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from medrobust.base.fingerprints import fingerprint
from medrobust.base.former_names import FIRST
from medrobust.base.process_state import left_as_found
from medrobust.base.program import check_current_folder
from medrobust.base.torch_settings import plain_torch
from medrobust.corruptions import Corruption, Suite, suites
from medrobust.corruptions.suites import FILE
from medrobust.datasets.image_set import ImageSet
from medrobust.evaluation.experiment import AskedModel, Data, Experiment, How, Where
from medrobust.evaluation.first_batch import check_images
from medrobust.evaluation.plan import plan
from medrobust.evaluation.resources import Resources
from medrobust.evaluation.run import CellRunner, read_cells
from medrobust.evaluation.store import Store
from medrobust.exceptions import ConfigurationError
from medrobust.models.base import ModelSource
from medrobust.models.own import OwnModel
from medrobust.models.prompts import PromptSet
from medrobust.reporting import Report, ReportRequest, build_report
from medrobust.tasks.lookup import task_of
from medrobust.types import UInt8Array

from .records import Tally, expected_tables


def evaluate(
    model: Any,
    images: UInt8Array,
    labels: Sequence[int] | np.ndarray[Any, Any],
    class_names: Sequence[str],
    *,
    corruptions: str = "medimeta_c",
    severities: int | Sequence[int] = (1, 2, 3, 4, 5),
    templates: Sequence[str] = ("a medical image of {}",),
    name: str = "data",
    model_name: str = "own",
    logit_scale: float | None = None,
    positive: int | None = None,
    seed: int = 0,
    store: str | Path | None = None,
) -> Report:
    """Evaluate a model on clean and corrupted images.

    The process is left as it was found, generators of random numbers and flags included, so that a
    call between two epochs changes nothing of the next one.

    Args:
        model: A file's worth of conf/model (a `ModelSource`), an `nn.Module` that turns pixels
            (N, 3, H, W) in [0, 1] into raw class scores (N, K), before any softmax, or one with
            `encode_image` and `encode_text`; it is not changed. Wrap it in
            `medrobust.models.OwnModel` to name its preprocessing.
        images: uint8 (N, H, W) or (N, H, W, 3), all of one size; severity is defined at 224.
        labels: (N,) integers from 0, or (N, L) of zeros and ones for multi-label data.
        class_names: In label order.
        corruptions: A suite ("medimeta_c", "imagenet_c", "clean"; path of a file of one's own) or
            the name of one corruption.
        severities: Levels from 1 to 5, or one of them.
        templates: Prompt templates with `{}` for the class name; unused by classifiers.
        name: Of the data, in tables.
        model_name: Of an own model, in tables.
        logit_scale: Multiplier of the cosine of an own dual encoder; its attribute by default.
        positive: Positive class of two-class data; the last by default.
        seed: Of the corruptions.
        store: Folder that keeps finished cells; None: nothing is kept.

    Returns:
        The report: `print()` shows the matrix, `results` and `summary` are lists of rows,
        `write(folder)` writes the page, the picture and the tables.

    Raises:
        ConfigurationError: If names, labels and images do not belong together, or the current
            folder is gone.
        InvalidDataError: If the images are not uint8 of one of the two shapes.
    """
    check_current_folder()
    with left_as_found(finish_wandb=False), plain_torch():
        import pytorch_lightning

        source: ModelSource
        if isinstance(model, OwnModel):
            source = replace(model)  # its module may have changed since the last call
        elif hasattr(model, "weights_fingerprint"):
            source = model
        else:
            source = OwnModel(model, name=model_name, logit_scale=logit_scale)
        task = task_of(FIRST)
        image_set = _image_set(images, task.facts_of(labels, class_names, positive), name)
        with tempfile.TemporaryDirectory(prefix="medrobust-") as temporary:
            trainer = partial(
                pytorch_lightning.Trainer,
                accelerator="auto",
                devices=1,
                default_root_dir=temporary,
            )
            experiment = Experiment(
                data=Data(
                    datasets=(_Given(image_set),),
                    corruption=_columns(corruptions),
                    severities=(severities,) if isinstance(severities, int) else tuple(severities),
                    seed=seed,
                    validation=False,
                ),
                model=AskedModel(
                    source=source,
                    task=task,
                    prompts=PromptSet(name="given", templates=list(templates)),
                ),
                where=Where(Path(store) if store is not None else Path(temporary)),
                how=How(trainer),
            )
            return _run(experiment)


def _run(experiment: Experiment) -> Report:
    resources = Resources()
    kept = Store(experiment.where.store)
    plans = plan(experiment, resources)
    check_images(experiment.model, resources, plans)
    runner = CellRunner(experiment, resources, kept)
    tally = Tally()
    runner.run(plans, tally.done.append)
    runner.complain()
    request = ReportRequest(
        store=kept,
        cells=read_cells(kept, plans),
        expected=expected_tables(plans, experiment.data.severities),
        folder=Path("outputs"),
        run=tally.record(None, "medrobust.evaluate(...)", {}),
    )
    return build_report(request)


class _Given:
    """A data source that is open already."""

    def __init__(self, image_set: ImageSet) -> None:
        self.image_set = image_set
        self.name = image_set.name
        self.suite = image_set.suite
        self.split = image_set.split

    def load(self, split: str | None = None) -> ImageSet:
        """Return the arrays that were given."""
        return self.image_set

    def __repr__(self) -> str:
        return self.image_set.fingerprint


def _columns(corruptions: str) -> Corruption | Suite:
    if not isinstance(corruptions, str):
        raise ConfigurationError(
            f"corruptions={corruptions!r}: name one suite or one corruption. Several corruptions "
            f"of one's own choice are a call each, with the same store=FOLDER, which keeps what "
            f"is computed."
        )
    whole = corruptions in (*suites(), "clean") or corruptions.endswith(FILE)
    return Suite(corruptions) if whole else Corruption(corruptions)


def _image_set(images: UInt8Array, facts: Mapping[str, Any], name: str) -> ImageSet:
    """Make a set of images in memory, known by its pixels and what it is judged by."""
    images = np.asarray(images)
    pixels = hashlib.sha256(np.ascontiguousarray(images).tobytes()).hexdigest()
    judged = [facts["target"].values.tolist(), list(facts["class_names"]), facts["positive"]]
    return ImageSet(
        name=name,
        split="test",
        images=images,
        ids=np.array([str(row) for row in range(len(images))]),
        index=np.arange(len(images), dtype=np.int64),
        fingerprint=fingerprint([pixels, list(images.shape), *judged]),
        origin="own",
        **facts,
    )
