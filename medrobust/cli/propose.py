"""`medrobust propose IMAGES.csv --text ... --out boxes.csv`: boxes where nobody drew any."""

import argparse
import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medrobust.base.whole_files import write_whole
from medrobust.base.wording import counted
from medrobust.exceptions import ConfigurationError, InvalidDataError, WeightsNotFoundError

from .parsing import check_out_file, subcommand_parser

if TYPE_CHECKING:
    from medrobust.datasets.own.table import Table
    from medrobust.models.owl_vit import OwlViTDetector

ABOUT = """\
Let OWL-ViT draw boxes around what sentences name, as dataset=lesions reads them.

IMAGES.csv has the columns path and label: every box of an image has the label of its image, so that
only answers that are joined to images or patients (aggregate=image) can be judged. Boxes are drawn
on the images as they are, before any corruption; of boxes that cover the same the surest is kept.
What lies below the threshold everywhere gets the surest box of all, so that no image is lost."""

COLUMNS = ("image", "x1", "y1", "x2", "y2", "label", "score")


def main(arguments: Sequence[str]) -> int:
    """Propose, write the table, and return the exit status."""
    parser = subcommand_parser(
        "propose", ABOUT, 'images.csv --text "a skin lesion" --local-dir owlvit --out boxes.csv'
    )
    parser.add_argument("table", type=Path, metavar="IMAGES.csv")
    parser.add_argument("--text", action="append", required=True, help="may be given several times")
    parser.add_argument("--out", type=Path, required=True, help="the table of boxes to write")
    parser.add_argument("--model", default="google/owlvit-base-patch32", help="on the hub")
    parser.add_argument("--local-dir", help="folder with the files of the model, in its place")
    parser.add_argument("--root", type=Path, help="that paths begin in; default: the table's")
    parser.add_argument("--threshold", type=float, default=0.1, help="least score of a box")
    parser.add_argument("--iou", type=float, default=0.3, help="from which a box repeats a surer")
    parser.add_argument("--most", type=int, default=20, help="boxes an image")
    given = parser.parse_args(list(arguments))
    _check(given)
    from medrobust.datasets.own.table import read_table
    from medrobust.models.cut_texts import counting_cut_texts

    table = read_table(given.table)
    paths = table.column("path", "csv")
    labels = _labels(table)
    root = given.root or given.table.parent
    lost = [path for path in paths if not (root / path).is_file()]
    if lost:
        raise ConfigurationError(
            f"{counted(len(lost), 'image')} of {given.table.name} not found in {root}, {lost[0]!r} "
            f"first: pass --root=<folder>."
        )
    detector = _loaded(given)
    rows: list[list[Any]] = []
    with counting_cut_texts() as cut:
        for path, label in zip(paths, labels, strict=True):
            boxes = proposed(detector, root, path, given)
            rows += [[path, *box, label, score] for *box, score in boxes]
            if cut.number:
                raise ConfigurationError(
                    f"--text is longer than the {cut.context} tokens that the model reads: say it "
                    f"in fewer words."
                )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([COLUMNS, *rows])
    given.out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(given.out, text.getvalue().encode())
    print(f"{counted(len(rows), 'box')} in {counted(len(paths), 'image')}: {given.out}")
    return 0


def _labels(table: "Table") -> Sequence[str]:
    """Return the label of each image.

    Raises:
        InvalidDataError: If there is no such column, or an image has none; names the line.
    """
    from medrobust.base.missing import marks_no_label

    if "label" not in table.columns:
        raise InvalidDataError(
            f"{table.file} needs a column label: every box has the label of its image."
        )
    labels = table.column("label", "label_column")
    for row, text in enumerate(labels):
        if marks_no_label(text):
            raise InvalidDataError(
                f"{table.place(row)}: the image has no label, which its boxes would have."
            )
    return labels


def _loaded(given: argparse.Namespace) -> "OwlViTDetector":
    """Load the detector.

    Raises:
        WeightsNotFoundError: If files are missing, with this command's option.
    """
    from medrobust.models.owl_vit import TransformersOwlViT

    try:
        return TransformersOwlViT("owl_vit", given.model, local_dir=given.local_dir).load()
    except WeightsNotFoundError as error:
        told = str(error).replace("model.local_dir=", "--local-dir ")
        raise WeightsNotFoundError(told) from error


def _check(given: argparse.Namespace) -> None:
    """Refuse numbers and words that choose nothing, and a table that is there.

    Raises:
        ConfigurationError: Naming the option.
    """
    if not 0 <= given.threshold <= 1 or not 0 < given.iou <= 1 or given.most < 1:
        raise ConfigurationError(
            f"--threshold={given.threshold:g} must be in [0, 1], --iou={given.iou:g} above 0 and "
            f"up to 1, and --most={given.most} at least 1."
        )
    if not all(text.strip() for text in given.text):
        raise ConfigurationError("--text is empty: say what to look for, as in --text 'a mole'.")
    if given.out.is_file():
        raise ConfigurationError(f"{given.out} is there: name another --out, or remove it.")
    check_out_file(given.out)


def proposed(
    detector: "OwlViTDetector", root: Path, path: str, given: argparse.Namespace
) -> list[list[float]]:
    """Return the boxes of an image: left, top, right, bottom in its pixels, and score; best first.

    Raises:
        InvalidImageError: If it cannot be read.
    """
    import numpy as np
    import torch

    from medrobust.datasets.own.picture_files import read_picture
    from medrobust.datasets.own.picture_sizes import shown_size
    from medrobust.datasets.own.pictures import Framing
    from medrobust.engine.loader import channel_first
    from medrobust.metrics.froc import Boxes
    from medrobust.metrics.lesions import unsuppressed

    pixels = read_picture(root / path, Framing(detector.side, "squash"), grey=False)
    found, scores = detector(torch.from_numpy(channel_first(pixels[None])), given.text)
    width, height = shown_size(root / path)
    corners = found.double().numpy().clip(0, 1) * [width, height, width, height]
    sure = scores.double().numpy()
    sides = np.minimum(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1])
    wide = sides >= 1  # less is no window
    asked = wide & (sure >= given.threshold)
    if not asked.any():
        asked = sure == sure[wide].max() if wide.any() else asked
    places = np.flatnonzero(asked)
    boxes = Boxes(corners[places], np.zeros(len(places), np.int64))
    kept = places[unsuppressed(boxes, sure[places], given.iou)]
    best = kept[np.argsort(-sure[kept], kind="stable")][: given.most]
    return [[*corners[place].round(2).tolist(), round(float(sure[place]), 6)] for place in best]
