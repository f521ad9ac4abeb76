"""Segmentation as a task: masks of pixels in, Dice, borders and empty masks out."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

from numpy.typing import NDArray

from medrobust.base.given import (
    check_number,
    check_switch,
    check_whole,
    check_whole_list,
    names_given,
)
from medrobust.base.once import say_once
from medrobust.base.targets import Masks
from medrobust.exceptions import ConfigurationError, unknown_name
from medrobust.metrics.surfaces import ELEMENTS, Elements
from medrobust.tasks.agreement import ALLOWED, Agreement, Move, agreement_of_arrays
from medrobust.tasks.base import (
    ArraySpec,
    Cell,
    Head,
    HeadDescription,
    ModelSide,
    Scores,
    Section,
    Table,
    Task,
)
from medrobust.tasks.text_side import text_model

from . import scores
from .border_errors import border_errors_over_images
from .classes import check_masks, has_outside, mask_classes
from .contours import contours_over_images
from .moved_prompts import of_moved_prompts
from .sections import tables
from .segmenters.boxes import Box, BoxProtocol, PromptMove, Shape, moves_of

log = logging.getLogger(__name__)

Segmenter: TypeAlias = Literal["auto", "own", "probe", "words"]
"""What gives masks: the model's own decoder, a probe on patch features, or sentences; "auto" is
the model's own where it has one, and else the probe."""

SEGMENTERS: tuple[Segmenter, ...] = get_args(Segmenter)

PURPOSE = "compare places with sentences"

CELL = MappingProxyType(
    {
        "overlap": ArraySpec("int32", ("image", "foreground")),
        "true_area": ArraySpec("int32", ("image", "foreground")),
        "predicted_area": ArraySpec("int32", ("image", "foreground")),
        "hd95": ArraySpec("float32", ("image", "foreground")),
        "assd": ArraySpec("float32", ("image", "foreground")),
        "nsd": ArraySpec("float32", ("image", "foreground")),
        "prompt_overlap": ArraySpec("float32", ("image", "foreground"), optional=True),
        "shown_rows": ArraySpec("int64", ("shown",)),
        "shown_masks": ArraySpec("uint8", ("shown", "mask_row", "mask_column")),
        "shown_truths": ArraySpec("uint8", ("shown", "mask_row", "mask_column")),
    }
)
"""What a cell holds: of each image and class of its foreground counts of pixels and distances of
borders (NaN where a mask has none), and a few masks to be shown; where prompts were moved, the IoU
of each box with the one that was not, or whether a point lies on its class."""


class Segmentation(Task):
    """Say which pixels of an image show what.

    Args:
        segmenter: What gives masks, see `Segmenter`.
        blocks: Blocks of the image tower whose places a probe or sentences read; None: all of up to
            four, else those at a half, three quarters and the end (sentences: the last).
        probe_shots: Training images that a probe is fitted to; None: all.
        probe_seed: Of their draw, of that of examples, and of the jitter of boxes.
        probe_ridge: Penalty of a probe, as a share of the number of places.
        prompted_by: "boxes" or "points", for models that take both.
        box: How boxes are drawn around the true masks, for models that are prompted by them.
        prompt_corruption: How prompts are moved away from where they belong, in rows beside those
            that are not: "shift", "enlarge" or "shrink", one or several; None: not at all.
        prompt_severities: How far, each from 1 to 5.
        examples: Training images that show a class, at most, for models that are prompted by them.
        background: Words of what is no class, for sentences; a set with words of normal images has
            its own.
        surface: What borders are made of: "surfels" (DeepMind) or "pixels" (MONAI).
        tolerance: Of NSD, in the unit of distances.
        unit: Of distances, "mm" or "px"; None: millimetres where a set knows its spacing.
        store_maps: Whether cells keep the masks of all images, and not of a few.
        text_corruption: Refused: sentences tell what to outline, and are given as they are.

    Raises:
        UnknownNameError: If there is no such segmenter, box or surface.
        ConfigurationError: If a setting is of the wrong kind, or a number none that can be.
    """

    kind = "segmentation"
    level = "patches"
    target = "masks"
    arrays = CELL
    metrics = scores.METRICS
    losses = scores.LOSSES
    offered = tuple(scores.METRICS)

    def __init__(
        self,
        segmenter: Segmenter = "auto",
        blocks: Sequence[int] | None = None,
        probe_shots: int | None = 256,
        probe_seed: int = 0,
        probe_ridge: float = 1e-3,
        prompted_by: Shape = "boxes",
        box: Box = "tight",
        prompt_corruption: str | Sequence[str] | None = None,
        prompt_severities: Sequence[int] = (1, 2, 3, 4, 5),
        examples: int = 64,
        background: Sequence[str] = ("background",),
        surface: Elements = "surfels",
        tolerance: float = 2.0,
        unit: Literal["mm", "px"] | None = None,
        store_maps: bool = False,
        text_corruption: object = None,
    ) -> None:
        if text_corruption is not None:
            raise ConfigurationError(
                "text_corruption changes sentences, and task=segmentation gives those of its "
                "classes as they are: leave it out; task.prompt_corruption moves boxes and points."
            )
        if segmenter not in SEGMENTERS:
            raise unknown_name("segmenter of task=segmentation", segmenter, SEGMENTERS)
        if surface not in ELEMENTS:
            raise unknown_name("surface of task=segmentation", surface, ELEMENTS)
        if unit not in (None, "mm", "px"):
            raise unknown_name("unit of task=segmentation", str(unit), ("mm", "px"))
        check_whole_list("task.blocks", blocks, null="those that fit the segmenter")
        check_whole("task.probe_shots", probe_shots, null="all")
        check_whole("task.probe_seed", probe_seed, least=0)
        check_whole("task.examples", examples)
        check_whole_list("task.prompt_severities", prompt_severities)
        for name, value in (("probe_ridge", probe_ridge), ("tolerance", tolerance)):
            check_number(f"task.{name}", value)
            if not 0 < value < float("inf"):
                raise ConfigurationError(f"task.{name}={value} must be a number above 0.")
        check_switch("store.maps", store_maps)
        self.segmenter, self.blocks = segmenter, blocks
        self.shots, self.seed, self.ridge = probe_shots, probe_seed, float(probe_ridge)
        self.examples = int(examples)
        self.boxes = BoxProtocol(box, probe_seed, prompted_by)
        kinds = [prompt_corruption] if isinstance(prompt_corruption, str) else prompt_corruption
        self.moves = moves_of(kinds or (), prompt_severities, probe_seed)
        for move in self.moves:
            replace(self.boxes, move=move)  # refuses a point that is to grow
        self.background = names_given("task.background", background)
        if not self.background or not all(word.strip() for word in self.background):
            raise ConfigurationError(
                "task.background has no words: name what is no class, such as [background]."
            )
        self._surfaces = {"of": surface, "tolerance": float(tolerance)}
        self.unit, self.store_maps = unit, store_maps

    def heads(self, data: Any, side: ModelSide) -> Sequence[HeadDescription]:
        """Say what gives masks: one head, or one a prompt set where sentences do.

        Raises:
            ConfigurationError: If the set has no masks, spacing is asked for that nobody knows, the
                model has no decoder, or reads no sentences.
            InvalidDataError: If the masks show nothing, or what no class has.
        """
        classes = mask_classes(data)
        check_masks(data)
        segmenter = self._chosen(side)
        shared: dict[str, Any] = {
            "kind": self.kind,
            "segmenter": segmenter,
            "classes": list(classes),
            "surfaces": {**self._surfaces, "unit": self._unit(data)},
            **({"kept": "all"} if self.store_maps else {}),
        }
        if self.moves and not (segmenter == "own" and self._prompted_by(side) == "boxes"):
            say_once(
                log,
                logging.INFO,
                f"task.prompt_corruption moves boxes and points, and model {side.source.name!r} "
                f"segments by none: it has no row for them",
            )
        if segmenter == "probe":
            return [{**shared, "name": "probe", **self._of_probe(data, side)}]
        if segmenter == "own" and self._prompted_by(side) == "examples":
            return [{**shared, "name": "own", **self._of_examples(data, classes)}]
        if segmenter == "own" and self._prompted_by(side) != "texts":
            if self._prompted_by(side) != "boxes":
                return [{**shared, "name": "own"}]
            plain = {**shared, "name": "own", **self._prompt(side)}
            return [plain, *(_moved(plain, move) for move in self.moves)]
        if segmenter == "words":
            text_model(side, PURPOSE)
            shared["blocks"] = list(self.blocks or [int(side.model().patch_blocks)])
        return [
            {**shared, "name": prompts.name, "texts": self._texts(prompts, data, classes)}
            for prompts in side.prompt_sets
        ]

    def _chosen(self, side: ModelSide) -> Segmenter:
        """Return what gives masks, "auto" decided.

        Raises:
            ConfigurationError: If the model's own is asked for and it has none.
        """
        has_own = hasattr(side.model(), "mask_decoder")
        if self.segmenter == "auto":
            return "own" if has_own else "probe"
        if self.segmenter == "own" and not has_own:
            raise ConfigurationError(
                f"model {side.source.name!r} gives no masks of its own: take task.segmenter=probe, "
                f"words where it reads sentences, or a model that segments."
            )
        return self.segmenter

    def _prompted_by(self, side: ModelSide) -> str:
        return str(side.model().prompted_by)

    def _prompt(self, side: ModelSide) -> dict[str, Any]:
        """Say how boxes or points are drawn.

        Raises:
            ConfigurationError: If the model takes no points.
        """
        if self.boxes.shape == "boxes":
            return {"box": {"kind": self.boxes.kind, "seed": self.boxes.seed}}
        if not side.model().takes_points:
            raise ConfigurationError(
                f"model {side.source.name!r} is prompted by boxes and takes no points: pass "
                f"task.prompted_by=boxes."
            )
        return {"point": "deepest"}

    def _unit(self, data: Any) -> str:
        """Return the unit of distances.

        Raises:
            ConfigurationError: If it is millimetres, and nobody knows them.
        """
        known = data.target.spacing is not None
        if self.unit == "mm" and not known:
            raise ConfigurationError(
                f"task.unit=mm needs the spacing of the pixels, and data set {data.name!r} names "
                f"none: pass dataset.spacing_column, or task.unit=px."
            )
        return self.unit or ("mm" if known else "px")

    def _of_probe(self, data: Any, side: ModelSide) -> dict[str, Any]:
        """Say what a probe is fitted to."""
        from .making import of_probe

        return of_probe(data, side, self.blocks, self.shots, self.seed, self.ridge)

    def _of_examples(self, data: Any, classes: Sequence[str]) -> dict[str, Any]:
        """Say which training images are shown."""
        from .examples import of_examples

        return of_examples(data, classes, self.examples, self.seed)

    def _texts(self, prompts: Any, data: Any, classes: Sequence[str]) -> list[list[str]]:
        """Return the sentences of each class, the background first."""
        if isinstance(data.target, Masks):
            words = [*self.background[:1], *classes[1:]]
            found: list[list[str]] = prompts.texts(
                dataset=data.name, class_texts=words, modality=data.modality
            )
            return found
        states = data.states or (self.background, data.class_names[-1:])
        both: list[list[str]] = prompts.state_texts(
            dataset=data.name, modality=data.modality, states=states
        )
        return both

    def head(self, side: ModelSide, description: HeadDescription, data: Any) -> Head:
        """Make what gives masks, fitted to training images where it is a probe."""
        from .making import segmentation_head, tuning_head

        if "tuned" in description:
            return tuning_head(side, description, data, PURPOSE)

        return segmentation_head(side, description, data, PURPOSE)

    def tuned_head(self, data: Any, side: ModelSide, *, trains_head: bool) -> HeadDescription:
        """Say by which segmenter, and by which masks, an adapter is tuned.

        Raises:
            ConfigurationError: If the adapter is a head for classes, or as `heads` raises it.
        """
        if trains_head:
            raise ConfigurationError(
                "task=segmentation has no classes of images that a head could tell: a probe on "
                "patches is its own (task.segmenter=probe). Choose adapter=lora, mvfa, norm or "
                "full."
            )
        plain = self.heads(data, side)[0]
        # Borders of lesions that come with labels never counted: theirs is no change.
        changed = isinstance(data.target, Masks) and has_outside(data)
        bordered = {"outside": "left out"} if changed else {}
        return {**plain, "tuned": {"masks": data.target.digest, **bordered}}

    def scores(self, cell: Cell, fitted: Any = None) -> Scores:
        """Compute numbers and terms, as `scores.scores` has it."""
        return scores.scores(cell)

    def agreement(self, cell: Cell, again: Mapping[str, NDArray[Any]], move: Move) -> Agreement:
        """Compare the Dice and the NSD of each image: rounding moves pixels at borders."""
        stored, new = (
            {"Dice": scores.image_dice(arrays), "NSD": arrays["nsd"].mean(axis=1)}
            for arrays in (cell.arrays, again)
        )
        return agreement_of_arrays(stored, new, ALLOWED[move])

    def collapsed(self, cell: Cell) -> str | None:
        """Name masks that are empty for every image."""
        return scores.collapsed(cell)

    def sections(self, matrix: Table) -> Sequence[Section]:
        """Return what the page shows of masks: classes, sizes, distances, contours."""
        pictures = contours_over_images(matrix), border_errors_over_images(matrix)
        return (*tables(matrix), *of_moved_prompts(matrix), *pictures)


def _moved(head: dict[str, Any], move: PromptMove) -> dict[str, Any]:
    """Return a head whose prompts are moved."""
    said = {"kind": move.kind, "severity": move.severity, "share": move.share, "seed": move.seed}
    return {**head, "moved": said, "name": f"{head['name']}, {move.kind} {move.severity}"}


TASK = Segmentation()
