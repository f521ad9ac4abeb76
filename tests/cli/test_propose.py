"""Proposed boxes are those of transformers, and a data set of lesions reads them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from run_entry import answer, rows
from segmenters import write_random_owl_vit
from transformers import CLIPTokenizerFast

from medrobust.cli.propose import main
from medrobust.exceptions import InvalidDataError
from medrobust.models.preprocess import CLIP_MEAN, CLIP_STD

TEXTS = ("a mole", "a dark spot of the skin")
PROPOSE = ("propose", "images.csv", "--text", TEXTS[0], "--text", TEXTS[1], "--local-dir", "owl")


@pytest.fixture
def place(workplace: Path) -> Path:
    """Four photographs of three sizes, one of them turned by its EXIF, and the model's files."""
    lines = ["path,label,split"]
    for number, size in enumerate([(96, 64), (64, 96), (80, 80), (96, 64)]):
        pixels = np.random.default_rng(number).integers(0, 256, (*size[::-1], 3)).astype(np.uint8)
        exif = Image.Exif()
        exif[0x0112] = 6 if number == 1 else 1
        Image.fromarray(pixels).save(workplace / f"photo{number}.png", exif=exif)
        lines.append(f"photo{number}.png,{['benign', 'malignant'][number % 2]},test")
    (workplace / "images.csv").write_text("\n".join(lines))
    (workplace / "owl").mkdir()
    return workplace


def by_transformers(model: object, file: str) -> tuple[np.ndarray, np.ndarray]:
    """Return corners in pixels and scores of the library, with Pillow's resize."""
    from PIL import ImageOps

    picture = ImageOps.exif_transpose(Image.open(file)).convert("RGB")
    small = np.asarray(picture.resize((64, 64), Image.Resampling.BICUBIC), np.float32) / 255
    pixels = (
        torch.from_numpy((small - np.array(CLIP_MEAN)) / np.array(CLIP_STD))
        .permute(2, 0, 1)[None]
        .float()
    )
    tokens = CLIPTokenizerFast.from_pretrained("owl")(
        list(TEXTS), padding="max_length", max_length=16, return_tensors="pt"
    )
    with torch.no_grad():
        found = model(**tokens, pixel_values=pixels)
    centre, extent = found.pred_boxes[0].numpy()[:, :2], found.pred_boxes[0].numpy()[:, 2:]
    corners = np.concatenate([centre - extent / 2, centre + extent / 2], axis=1).clip(0, 1)
    return corners * [*picture.size, *picture.size], found.logits[0].amax(1).sigmoid().numpy()


@pytest.mark.slow
def test_proposals_are_the_boxes_of_transformers_and_become_lesions(place: Path) -> None:
    model = write_random_owl_vit(place / "owl")
    said = answer(*PROPOSE, "--out", "boxes.csv", "--threshold", "0", "--iou", "1")
    assert said.returncode == 0, said.stderr
    found = rows("boxes.csv")
    assert len(found) == 4 * 16
    for number in range(4):
        own = [row for row in found if row["image"] == f"photo{number}.png"]
        assert {row["label"] for row in own} == {["benign", "malignant"][number % 2]}
        corners, scores = by_transformers(model, f"photo{number}.png")
        order = np.argsort(-scores, kind="stable")
        got = np.array([[float(row[key]) for key in ("x1", "y1", "x2", "y2")] for row in own])
        assert np.allclose(got, corners[order], atol=0.02)
        assert np.allclose([float(row["score"]) for row in own], scores[order], atol=1e-5)

    said = answer(*PROPOSE, "--out", "few.csv", "--threshold", "1", "--most", "2")
    assert said.returncode == 0
    assert len(rows("few.csv")) == 4, "the surest box of each image"
    run = ("model=phantomclip_small", "dataset=lesions", "dataset.csv=images.csv", "severity=3")
    run += ("dataset.boxes=few.csv", "dataset.name=moles", "dataset.modality=photo")
    run += ("corruption=gaussian_noise", "aggregate=image", "validation=false", "readings=none")
    assert answer(*run, "hydra.run.dir=out").returncode == 0
    assert {row["corruption"] for row in rows("out/results.csv")} == {"clean", "gaussian_noise"}


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (
            "path\nphoto0.png\n",
            "images.csv needs a column label: every box has the label of its im",
        ),
        ("path,label\nphoto0.png,a\nphoto1.png,\n", "images.csv, line 3: the image has no label"),
    ],
)
def test_images_without_a_label_are_refused_before_the_model_is_read(
    place: Path, table: str, sentence: str
) -> None:
    (place / "images.csv").write_text(table)
    with pytest.raises(InvalidDataError, match=sentence):
        main([*PROPOSE[1:], "--out", "boxes.csv"])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--text", " "), "--text is empty: say what to look for"),
        (("--text", "spot " * 20), "--text is longer than the 16 tokens that the model reads"),
        (("--threshold", "2"), "--threshold=2 must be in [0, 1]"),
        (("--root", "elsewhere"), "4 images of images.csv not found in elsewhere"),
        ((), "from the Hugging Face hub and pass --local-dir FOLDER."),
    ],
)
def test_what_proposes_nothing_is_refused(
    place: Path, options: tuple[str, ...], sentence: str
) -> None:
    if "spot" in str(options):
        write_random_owl_vit(place / "owl")
    said = answer(*PROPOSE, "--out", "boxes.csv", *options)
    assert said.returncode == 1
    assert sentence in said.stderr
    assert not Path("boxes.csv").exists()
