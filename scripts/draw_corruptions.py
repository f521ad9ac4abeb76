"""Draw the gallery of docs/corruptions.md: each corruption at every severity, on a phantom.

    python scripts/draw_corruptions.py             # writes docs/images/corruptions/*.jpg
    python scripts/draw_corruptions.py snow frost  # these alone

A strip shows the clean image and severities 1 to 5, each the middle of an image of 224 pixels at
its own size, or the whole image, smaller, where a mark may lie anywhere. The corruptions of
ImageNet-C come from the suite imagenet_c; those that only MedMNIST-C has come from the first of its
registries that lists them; occlusion and artifacts of devices come from their own suites. What only
other benchmarks have is one sheet (other_benchmarks): a row a suite, each at severity 5.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from medrobust.corruptions import corrupt, suites
from medrobust.corruptions.modality import MEDFM, PHYSICS
from medrobust.corruptions.suites import REGISTRIES
from medrobust.datasets.phantoms.source import phantom
from medrobust.exceptions import unknown_name

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "images" / "corruptions"
TILE = 136
GAP = 4
QUALITY = 80
OWN = ("occlusion", "local_change", *PHYSICS.values(), "overlays")
"""Suites of our own."""

WHOLE = {
    *("stain_deposit", "bubble", "black_corner", "characters"),
    *(name for suite in OWN for name in suites(suite)),
}
"""Corruptions of which the whole image is shown, reduced."""


SHEET = "other_benchmarks"
ROWS = {
    "roodmri": ["elastic"],
    "histopathology_c": ["marking_blur", "bubble_blur"],
    "medfm_robust": ["motion_blur", "brightness_contrast"],
    **{suite: suites(suite) for suite in MEDFM.values()},
}
"""Suite -> corruptions of its row."""


def columns() -> dict[str, str]:
    """List the corruptions, with the suite that each is drawn from."""
    found = dict.fromkeys(suites("imagenet_c"), "imagenet_c")
    for suite in (*REGISTRIES, *OWN):
        for name in suites(suite):
            found.setdefault(name, suite)
    return found


def strip(name: str, suite: str) -> Image.Image:
    """Draw one corruption: clean, then severities 1 to 5."""
    image = torch.from_numpy(phantom(0, split="test").transpose(2, 0, 1).copy())[None]
    tiles = [image, *(corrupt(image, name, severity=s, suite=suite) for s in range(1, 6))]
    first = (image.shape[2] - TILE) // 2
    sheet = np.full((TILE, 6 * (TILE + GAP) - GAP, 3), 255, np.uint8)
    for place, tile in enumerate(tiles):
        pixels = tile[0].permute(1, 2, 0).numpy()
        left = place * (TILE + GAP)
        if name in WHOLE:
            shown = np.asarray(Image.fromarray(pixels).resize((TILE, TILE)))
        else:
            shown = pixels[first : first + TILE, first : first + TILE]
        sheet[:, left : left + TILE] = shown
    return Image.fromarray(sheet)


def other_benchmarks() -> Image.Image:
    """Draw what only other benchmarks have, whole and reduced."""
    image = torch.from_numpy(phantom(0, split="test").transpose(2, 0, 1).copy())[None]
    side, across = TILE + GAP, max(map(len, ROWS.values()))
    sheet = np.full((len(ROWS) * side - GAP, across * side - GAP, 3), 255, np.uint8)
    for row, (suite, names) in enumerate(ROWS.items()):
        for column, name in enumerate(names):
            out = corrupt(image, name, severity=5, suite=suite)[0].permute(1, 2, 0).numpy()
            tile = np.asarray(Image.fromarray(out).resize((TILE, TILE)))
            sheet[row * side : row * side + TILE, column * side : column * side + TILE] = tile
    return Image.fromarray(sheet)


def main() -> None:
    """Write the strips that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="corruptions; all by default")
    names = parser.parse_args().names
    known = columns()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in names or [*known, SHEET]:
        if name == SHEET:
            other_benchmarks().save(FOLDER / f"{SHEET}.jpg", quality=QUALITY)
            continue
        if name not in known:
            raise unknown_name("corruption", name, known)
        path = FOLDER / f"{name}.jpg"
        strip(name, known[name]).save(path, quality=QUALITY)
        print(f"{path.name}  {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
