"""What Weights & Biases shows of pictures, where they are asked for."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from medrobust.types import UInt8Array

from .matrix import Matrix

if TYPE_CHECKING:
    from .report import Report


def pictures(report: "Report") -> dict[str, Any]:
    """Return example pictures, those of sections, and those with masks, by what they are of."""
    content = {}
    for matrix in report.matrices:
        place = f"{matrix.table.dataset}/{matrix.table.suite}"
        content[f"examples/{place}"] = _examples(matrix)
        for section in matrix.sections:
            for name, shown in section.pictures.items():
                content[f"{name}/{place}"] = [_image(png, caption) for caption, png in shown]
            for name, given in section.masked.items():
                masked = [
                    _image(one.picture, one.caption, _labelled(one.masks, one.classes))
                    for one in given()
                ]
                if masked:
                    content[f"{name}/{place}"] = masked
    return content


def _examples(matrix: Matrix) -> list[Any]:
    return [
        _image(cell.picture(), f"{place.corruption} s{place.severity}")
        for place, cell in matrix.cells.items()
        if place.row == 0 and cell.examples
    ]


def _image(content: bytes, caption: str, masks: Mapping[str, Any] | None = None) -> Any:
    import wandb
    from PIL import Image

    return wandb.Image(Image.open(io.BytesIO(content)), caption=caption, masks=masks)


def _labelled(masks: Mapping[str, UInt8Array], classes: Sequence[str]) -> dict[str, Any]:
    labels = dict(enumerate(classes))
    return {name: {"mask_data": mask, "class_labels": labels} for name, mask in masks.items()}
