"""Configuration -> experiment -> cells. The one place beside the entry that knows Hydra."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Any

from medrobust.base.split_facts import SplitFacts
from medrobust.corruptions.modality import modality_of
from medrobust.exceptions import ConfigurationError
from medrobust.tasks.base import AFTER, MIXED, ONLINE

from .cells import head_fingerprint
from .columns import Column
from .experiment import AskedModel, Data, Experiment
from .file_columns import files_columns
from .mixture import Mixture, mixture_of
from .store import CellKey, CellSpec

if TYPE_CHECKING:
    from medrobust.datasets.image_set import DatasetSource, ImageSet

    from .resources import Resources

log = logging.getLogger(__name__)

GRADIENTS = ("32-true", "bf16-mixed", "64-true")
"""Precisions in which gradients are taken without being scaled."""


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """A cell and what computes it.

    Attributes:
        key: Of the cell.
        corruption: What is done to the images; None for clean.
        after: The cell whose images a method has seen right before, and keeps what it learned of;
            None where it begins anew.
        mixture: The conditions whose images a method sees in one order with those of this cell;
            None where it sees those of this cell alone.
    """

    key: CellKey
    corruption: Column | None
    after: "PlannedCell | None" = field(default=None, compare=False, repr=False)
    mixture: Mixture | None = field(default=None, compare=False, repr=False)

    @property
    def streamed(self) -> bool:
        """Whether a method answers its images while they come: it has no features to keep."""
        return ONLINE in self.key.encoding

    @property
    def passed_as(self) -> str:
        """Fingerprint of the pass that its images are in: of the encoding, or of the mixture."""
        return self.key.encoding_fingerprint if self.mixture is None else self.mixture.stream


@dataclass(frozen=True, slots=True)
class DatasetPlan:
    """The cells of one data set, clean first, then by corruption and severity, then by head.

    Cells that differ in their head alone stand side by side, so that one encoding serves them all.

    Attributes:
        image_set: The evaluated split.
        record: Its labels and names, as the store keeps them.
        columns: The corruptions, in table order.
        cells: One a column, severity and head, and clean.
        site: Clean validation images, where a measure of images is fitted on them.
    """

    image_set: "ImageSet"
    record: SplitFacts
    columns: tuple[Column, ...]
    cells: tuple[PlannedCell, ...]
    site: "ImageSet | None" = None


def check(experiment: Experiment) -> "list[tuple[DatasetSource, tuple[Column, ...]]]":
    """Find what cannot run before data is opened or weights are loaded.

    Returns:
        Each data set with its corruptions in table order.

    Raises:
        UnknownNameError: If a corruption does not exist (for that data set).
        DatasetNotFoundError: If a published corrupted file is missing.
        WeightsNotFoundError: If files of the model are missing.
        ConfigurationError: If the adapter was tuned on another model, or adapts answers that the
            task does not have.
    """
    asked = experiment.model
    expanded = [(source, _columns(experiment.data, source)) for source in experiment.data.datasets]
    if asked.adapter.methods and not asked.task.adapts_online:
        raise ConfigurationError(
            f"adapter.online adapts the answers of a classifier, and task={asked.task.kind} has "
            f"others: leave adapter.online out."
        )
    _check_streamed(asked)
    asked.adapter.check_base(asked.source.name, asked.source.weights_fingerprint())
    return expanded


def _check_streamed(asked: AskedModel) -> None:
    """Refuse what a method that changes the model while images come cannot run in.

    Raises:
        ConfigurationError: Naming the method and the key.
    """
    named = next((one.method for one in asked.adapter.methods if one.reads_images), None)
    if named is None:
        return
    speed = asked.speed.description() if asked.speed else {}
    if asked.precision not in GRADIENTS or not speed.keys() <= {"channels_last"}:
        what = f"trainer.precision={asked.precision}" if not speed else f"speed ({speed})"
        raise ConfigurationError(
            f"adapter.online={named} takes gradients through the model, which {what} does not "
            f"allow: leave it out. Precisions: {', '.join(GRADIENTS)}."
        )


def _columns(data: Data, source: "DatasetSource") -> tuple[Column, ...]:
    computed = data.corruption.expand(source.suite, modality_of(source))
    published = files_columns(source, (column.name for column in computed), data.severities)
    if published is None:
        return computed
    from .regions import refuse_regions_of_files

    refuse_regions_of_files(computed, source.name)
    return published


def plan(experiment: Experiment, resources: "Resources") -> list[DatasetPlan]:
    """Name every cell of a job: clean once a data set, then corruptions by severities.

    Args:
        experiment: The job.
        resources: Opens data sets and loads the model, once.

    Raises:
        MedRobustError: As `check`, the data set or the model raises it.
    """
    return [
        _dataset_plan(experiment, resources, source, columns)
        for source, columns in check(experiment)
    ]


def _dataset_plan(
    experiment: Experiment,
    resources: "Resources",
    source: "DatasetSource",
    columns: tuple[Column, ...],
) -> DatasetPlan:
    from medrobust.datasets import MovedWindows

    from .equalised import equalised
    from .header_check import check_headers
    from .regions import with_masks, with_planes

    image_set = resources.image_set(source)
    if found := check_headers(columns, image_set):
        image_set = replace(image_set, findings=(*image_set.findings, *found))
    columns = with_planes(with_masks(columns, image_set), image_set)
    columns = equalised(experiment, resources, source, columns)
    for column in columns:
        if isinstance(column, MovedWindows):
            column.check(image_set)
    conditions = [(None, 0), *product(columns, experiment.data.severities)]
    cells = planned_cells(experiment, resources, image_set, conditions)
    return DatasetPlan(image_set, image_set, columns, cells)


def planned_cells(
    experiment: Experiment,
    resources: "Resources",
    image_set: "ImageSet",
    conditions: Sequence[tuple[Column | None, int]],
) -> tuple[PlannedCell, ...]:
    """Name the cells of one split under the given (corruption, severity), each with every head.

    A method that begins anew with the first condition alone goes through them in this order: each
    of its cells has the fingerprint of the one before in its own, and so the whole order. The cells
    of one that sees the images of all conditions mixed have the digest of these in their own.

    Raises:
        MedRobustError: If prompts or the model do not suit the data set.
    """
    assert experiment.model.stage is None  # else these would be cells of the model as published
    heads = experiment.model.task.heads(image_set, resources.side(experiment.model))
    encoder = resources.encoder_description(experiment.model)
    before: dict[str, PlannedCell] = {}
    cells = []
    for (corruption, severity), head in product(conditions, heads):
        stream = head_fingerprint(head) if _protocol(experiment, head) == "continual" else ""
        after = before.get(stream)
        key = _key(experiment, encoder, image_set, head, (corruption, severity), after)
        cells.append(PlannedCell(key, corruption, after))
        if stream:
            before[stream] = cells[-1]
    mixing = [head for head in heads if _protocol(experiment, head) == "mixed"]
    for name in map(head_fingerprint, mixing):
        cells = _mixed(cells, name)
    return tuple(cells)


def _protocol(experiment: Experiment, head: Mapping[str, Any]) -> str:
    """Say when a method begins anew that changes the model; "" where none does."""
    if ONLINE not in head:
        return ""
    method = experiment.model.adapter.method(head[ONLINE])
    named = method.parameters().get("protocol", "") if method.reads_images else ""
    return "" if named == "mixed" and not method.ordered else str(named)


def _mixed(cells: list[PlannedCell], head: str) -> list[PlannedCell]:
    """Return the same cells, those of a head as parts of one stream."""
    own = [cell for cell in cells if head_fingerprint(cell.key.head) == head]
    mixture = mixture_of(
        [cell.key.encoding for cell in own],
        [(cell.corruption, cell.key.spec.severity) for cell in own],
    )

    def part(cell: PlannedCell) -> PlannedCell:
        encoding = {**cell.key.encoding, MIXED: mixture.digest}
        return replace(cell, key=replace(cell.key, encoding=encoding), mixture=mixture)

    return [part(cell) if cell in own else cell for cell in cells]


def _key(
    experiment: Experiment,
    encoder: Mapping[str, Any],
    image_set: "ImageSet",
    head: Mapping[str, Any],
    condition: tuple[Column | None, int],
    after: PlannedCell | None,
) -> CellKey:
    corruption, severity = condition
    drawn = corruption is not None and corruption.random(severity)
    encoding: dict[str, Any] = {
        **encoder,
        "data": image_set.fingerprint,
        "corruption": {"name": "clean"}
        if corruption is None
        else corruption.identity(severity, image_set.images.shape[1:3]),
    }
    if ONLINE in head and experiment.model.adapter.method(head[ONLINE]).reads_images:
        encoding[ONLINE] = head_fingerprint(head)  # class texts and method decide what is encoded
    if after is not None:
        encoding[AFTER] = after.key.encoding_fingerprint
    if drawn:
        encoding |= {"seed": experiment.data.seed, "stream": image_set.stream}
    spec = CellSpec(
        model=experiment.model.source.name,
        adapter=experiment.model.adapter.name_with(head.get(ONLINE)),
        dataset=image_set.name,
        split=image_set.split,
        suite="none" if corruption is None else str(corruption.suite),
        corruption="clean" if corruption is None else corruption.name,
        severity=severity,
        seed=experiment.data.seed if drawn else None,
    )
    return CellKey(spec, encoding, head, image_set.fingerprint)
