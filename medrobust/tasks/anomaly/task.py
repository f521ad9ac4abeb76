"""Anomaly detection as a task: scores and maps in, ranks, false alarms and overlap out."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from medrobust.base.fingerprints import fingerprint
from medrobust.base.given import check_switch, check_whole, check_whole_list
from medrobust.base.once import say_once
from medrobust.base.targets import MaskedLabels
from medrobust.exceptions import ConfigurationError, unknown_name
from medrobust.metrics.detection import OperatingPoint
from medrobust.metrics.pixels import PixelCurve
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
from .map_pictures import maps_over_images
from .scorers import DISTANCES, Distance
from .sections import false_alarms, what_levels_hide
from .shown import no_maps, no_pixels
from .states import (
    check_both_states,
    masks_of_other_states,
    normal_classes,
    say_positive,
)

log = logging.getLogger(__name__)

Scorer: TypeAlias = Literal[
    "prompts", "windows", "encoded_windows", "memory_bank", "gaussian", "combined"
]
"""What an image is scored by."""

SCORERS: tuple[Scorer, ...] = get_args(Scorer)
WINDOWED = ("windows", "encoded_windows")
"""Scorers of windows, which read one block."""

PURPOSE = "score images by sentences of a normal and an abnormal state"

CELL = MappingProxyType(
    {
        "score": ArraySpec("float32", ("image",)),
        "normal_pixels": ArraySpec("int64", ("level",)),
        "lesion_pixels": ArraySpec("int64", ("level",)),
        "region_overlap": ArraySpec("float64", ("level",)),
        "pixel_influence": ArraySpec("float32", ("image", "number")),
        "map_rows": ArraySpec("int64", ("shown",)),
        "maps": ArraySpec("float32", ("shown", "map_row", "map_column")),
        "map_zoom": ArraySpec("float64", (1,)),
    }
)
"""What a cell holds: a score an image; of maps what lies at which level, what each image moves, and
a few of them to be shown. Without maps or masks there are no levels."""


class Anomaly(Task):
    """Tell images that are normal from all others, and say where they are not.

    Args:
        scorer: "prompts": sentences of both states, from the prompt set; "windows": the same, with
            maps from windows over places, joined by harmonic means; "encoded_windows": the same of
            windows that the model encodes alone, as WinCLIP does; "memory_bank": the distance of
            each place to the nearest of normal training images; "gaussian": that to a Gaussian of
            the same place; "combined": the mean of the first two, each scaled.
        maps: Whether sentences make maps, where a set has masks; the other scorers always do.
        blocks: Blocks of the image tower whose places make maps; None: four at equal distances.
        normal_shots: Normal training images that others are compared with; None: all.
        normal_seed: Of their draw.
        bank: Places that a memory bank keeps: a number, or a share below 1; None: all.
        metric: Of a memory bank: "cosine" or "euclidean".
        store_maps: Whether cells keep the maps of all images, and not of a few.

    Raises:
        UnknownNameError: If there is no such scorer or metric.
        ConfigurationError: If a setting is of the wrong kind.
    """

    kind = "anomaly"
    level = "patches"
    target = "masks or labels"
    arrays = CELL
    metrics = scores.METRICS
    losses = scores.LOSSES
    offered = tuple(scores.METRICS)
    fitted = scores.FITTED
    of_all_only = scores.OF_ALL_ONLY

    def __init__(
        self,
        scorer: Scorer = "prompts",
        maps: bool = True,
        blocks: Sequence[int] | None = None,
        normal_shots: int | None = None,
        normal_seed: int = 0,
        bank: float | None = 0.1,
        metric: Distance = "cosine",
        store_maps: bool = False,
    ) -> None:
        if scorer not in SCORERS:
            raise unknown_name("scorer of task=anomaly", scorer, SCORERS)
        if metric not in DISTANCES:
            raise unknown_name("distance of a memory bank", metric, DISTANCES)
        check_switch("task.maps", maps)
        check_switch("store.maps", store_maps)
        check_whole("task.normal_shots", normal_shots, null="all")
        check_whole("task.normal_seed", normal_seed, least=0)
        check_whole_list("task.blocks", blocks, null="four at equal distances")
        if not _is_size(bank):
            raise ConfigurationError(
                f"task.bank={bank} must be a share between 0 and 1, a whole number of places, or "
                f"null: all."
            )
        self.scorer = scorer
        self.maps, self.blocks, self.store_maps = maps, blocks, store_maps
        self._normals: dict[str, Any] = {"seed": normal_seed}
        if scorer in ("memory_bank", "combined"):
            self._normals |= {"size": bank, "metric": metric}
        self.shots = normal_shots

    def heads(self, data: Any, side: ModelSide) -> Sequence[HeadDescription]:
        """Say what scores: one head a prompt set, or one where no sentences are read.

        Raises:
            ConfigurationError: If no class is normal, the split has one state alone, the model
                reads no sentences, or normal images are missing.
        """
        normal = normal_classes(data)
        check_both_states(data, normal)
        say_positive(data, normal)
        if self.maps and not isinstance(data.target, MaskedLabels):
            said = f"data set {data.name!r} has no masks: nothing says where its images are not"
            say_once(log, logging.INFO, f"{said} normal, and there are no numbers of pixels")
        elif self.maps:
            for said in masks_of_other_states(data, normal):
                say_once(log, logging.WARNING, said)
        shared = {
            "kind": self.kind,
            "scorer": self.scorer,
            "normal": list(normal),
            **self._of_maps(data, side, normal),
            **self._of_normals(data, normal),
        }
        if self.scorer in ("memory_bank", "gaussian"):
            return [shared | {"name": self.scorer}]
        text_model(side, PURPOSE)
        return [
            shared | {"name": prompts.name, "texts": _texts(prompts, data, normal)}
            for prompts in side.prompt_sets
        ]

    def _of_maps(self, data: Any, side: ModelSide, normal: Sequence[str]) -> dict[str, Any]:
        """Say what makes maps; nothing where there are none."""
        masked = isinstance(data.target, MaskedLabels)
        branched = getattr(side.model(), "branch_blocks", ())
        if self.scorer == "prompts" and not branched and not (self.maps and masked):
            return {}
        count = int(side.model().patch_blocks)
        blocks = list(self.blocks or branched or self._blocks(side, count))
        if self.scorer in WINDOWED and len(blocks) != 1:
            does = "averages" if self.scorer == "windows" else "reads"
            raise ConfigurationError(
                f"task.scorer={self.scorer} {does} places of one block, and task.blocks names "
                f"{len(blocks)}: name one, or none for the last."
            )
        if self.scorer == "encoded_windows":
            side.model().check_windows()
        wrong = [block for block in blocks if not 1 <= block <= count]
        if wrong:
            raise ConfigurationError(
                f"task.blocks names block {wrong[0]}; model {side.source.name!r} has blocks 1 to "
                f"{count}."
            )
        scale = self._scale(data, list(normal), alone=not branched)
        kept = {"kept": "all"} if self.store_maps else {}
        return {"maps": {"blocks": blocks, "scaled_by": _named(scale), **kept}}

    def _blocks(self, side: ModelSide, count: int) -> list[int]:
        """Return the blocks that are read unless they are named, or branches say so.

        Raises:
            ConfigurationError: If no place of the model can be compared with sentences.
        """
        spread = sorted({-(-count * part // 4) for part in (1, 2, 3, 4)})
        if self.scorer in WINDOWED:
            return [count]
        if self.scorer not in ("prompts", "combined"):
            return spread
        joint = side.model().joint_blocks
        if not joint:
            raise ConfigurationError(
                f"no place of model {side.source.name!r} can be compared with sentences, so that "
                f"these make no maps: task.maps=false asks them for scores alone, "
                f"task.scorer=memory_bank or gaussian reads no sentences."
            )
        return [block for block in spread if block in joint] or [joint[-1]]

    def _scale(self, data: Any, normal: list[str], *, alone: bool) -> Any:
        """Return the normal validation images that maps are scaled by.

        Raises:
            ConfigurationError: If there are none; where sentences score images alone, too, how.
        """
        from medrobust.tasks.other_images import other_split

        from .normals import KIND, SCALED_BY, drawn

        try:
            return drawn(other_split(data, "val", KIND), normal, SCALED_BY, 0)
        except ConfigurationError as error:
            if self.scorer != "prompts" or not alone:
                raise
            raise ConfigurationError(
                f"{error} Maps are scaled by normal validation images: task.maps=false asks for "
                f"scores alone."
            ) from error

    def _of_normals(self, data: Any, normal: Sequence[str]) -> dict[str, Any]:
        """Say which normal images others are compared with; nothing where none are."""
        if self.scorer in ("prompts", *WINDOWED):
            return {}
        from .normals import few, shots

        found = shots(data, list(normal), self.shots, self._normals["seed"])
        for said in few(found, self.shots, self.scorer):
            say_once(log, logging.WARNING, said)
        return {"normals": {"shots": self.shots, "images": _named(found), **self._normals}}

    def head_detail(self, head: HeadDescription) -> str:
        """Name the scorer where it is not the name already: several may read one prompt set."""
        scorer = str(head.get("scorer", ""))
        return "" if scorer == head.get("name") else scorer

    def remarks(self, data: Any) -> Sequence[str]:
        """Say which masks contradict the states of their images, and that normal ones are few."""
        normal = normal_classes(data)
        masked = self.maps and isinstance(data.target, MaskedLabels)
        found = list(masks_of_other_states(data, normal)) if masked else []
        if self.scorer in ("prompts", *WINDOWED):
            return found
        from .normals import few, shots

        images = shots(data, list(normal), self.shots, self._normals["seed"])
        return [*found, *few(images, self.shots, self.scorer)]

    def head(self, side: ModelSide, description: HeadDescription, data: Any) -> Head:
        """Encode the sentences of both states, or normal images, once."""
        if "maps" in description:
            from .making import map_head

            return map_head(side, description, data, PURPOSE)
        if "tuned" in description:
            from .tuned import tuning_head

            return tuning_head(text_model(side, PURPOSE), description, data)
        from .head import StateHead

        return StateHead(text_model(side, PURPOSE), description)

    def tuned_head(self, data: Any, side: ModelSide, *, trains_head: bool) -> HeadDescription:
        """Say which sentences, and which masks, an adapter is tuned by.

        Raises:
            ConfigurationError: If the adapter is a head for classes, the images are of one state,
                or the model reads no sentences.
        """
        if trains_head:
            raise ConfigurationError(
                "task=anomaly asks whether an image is normal, and a linear probe answers with "
                "classes. Choose adapter=mvfa, lora, norm or full."
            )
        normal = normal_classes(data)
        check_both_states(data, normal)
        text_model(side, PURPOSE)
        (prompts,) = side.prompt_sets
        masked = self.maps and isinstance(data.target, MaskedLabels)
        return {
            "kind": self.kind,
            "name": prompts.name,
            "normal": list(normal),
            "texts": _texts(prompts, data, normal),
            "tuned": {"masks": data.target.digest if masked else None},
        }

    def scores(self, cell: Cell, fitted: Any = None) -> Scores:
        """Compute numbers and terms, as `scores.scores` has it."""
        return scores.scores(cell, fitted)

    def part(self, cell: Cell, rows: NDArray[np.bool_]) -> Cell:
        """Return some images of a cell without maps, whose pixels were counted over all images."""
        found = super().part(cell, rows)
        count = int(rows.sum())
        return replace(found, arrays={**found.arrays, **no_pixels(count), **no_maps()})

    def fit(self, clean_val: Cell) -> OperatingPoint | None:
        """Set the threshold that false alarms are counted at."""
        return scores.fit(clean_val)

    def agreement(self, cell: Cell, again: Mapping[str, NDArray[Any]], move: Move) -> Agreement:
        """Compare scores, and the numbers of maps: rounding moves pixels to the next level."""
        stored, other = (
            {"score": arrays["score"], **_numbers(arrays)} for arrays in (cell.arrays, again)
        )
        return agreement_of_arrays(stored, other, ALLOWED[move])

    def collapsed(self, cell: Cell) -> str | None:
        """Name scores that are the same for every image."""
        return scores.collapsed(cell)

    def sections(self, matrix: Table) -> Sequence[Section]:
        """Return the table of false alarms, and maps over an image."""
        return (
            Section("False alarms", order=10, html=false_alarms(matrix)),
            maps_over_images(matrix),
            Section("Levels", order=12, html=what_levels_hide(matrix)),
        )


def _texts(prompts: Any, data: Any, normal: Sequence[str]) -> list[list[str]]:
    """Return the sentences of the normal state and of the other one.

    A prompt set without states of its own gets the words of the data set: its phrases for both,
    where it has some, else the names of its classes.
    """
    named = list(zip(data.class_names, data.texts, strict=True))
    words = data.states or [
        [text for name, text in named if (name in normal) == state] or ["no finding"]
        for state in (True, False)
    ]
    found: list[list[str]] = prompts.state_texts(
        dataset=data.name, modality=data.modality, states=words
    )
    return found


def _is_size(bank: object) -> bool:
    """Say whether it is a share, a number of places, or None for all."""
    if bank is None or isinstance(bank, bool) or not isinstance(bank, int | float):
        return bank is None
    return 0 < bank < 1 or (bank >= 1 and float(bank).is_integer())


def _named(images: Any) -> str:
    """Fingerprint a choice of images."""
    return fingerprint([images.fingerprint, images.ids.tolist()])


def _numbers(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    counts = scores.pixel_counts(arrays)
    if not len(counts.normal) or not counts.defined:
        return {}
    return {"numbers of pixels": np.array(PixelCurve(counts).values)}


TASK = Anomaly()
