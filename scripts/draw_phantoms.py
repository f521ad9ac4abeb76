"""Draw a contact sheet of the phantoms: one image a class, site a above site b.

python scripts/draw_phantoms.py docs/images/phantoms.jpg
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from medrobust.datasets.phantoms.source import CLASSES, FAMILIES, phantom

SIDE, BAND, MARGIN = 150, 34, 4
"""Pixels of a picture, of the line of text above it, and between pictures."""


def sheet(site: str) -> Image.Image:
    """Draw every class once, a row a family, labelled."""
    across = max(len(classes) for classes in FAMILIES.values())
    size = (across * (SIDE + MARGIN) + MARGIN, len(FAMILIES) * (SIDE + BAND) + MARGIN)
    canvas = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(canvas)
    families = list(FAMILIES)
    for label, (family, kind) in enumerate(CLASSES):
        image = Image.fromarray(phantom(label, split="test", site=site)).resize((SIDE, SIDE))
        column = family.classes.index(kind)
        place = (
            MARGIN + column * (SIDE + MARGIN),
            families.index(family.name) * (SIDE + BAND),
        )
        draw.text((place[0], place[1] + 4), f"{family.name}, site {site}\n{kind}", "black")
        canvas.paste(image, (place[0], place[1] + BAND))
    return canvas


def main() -> None:
    """Draw both sites into one file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args()
    sheets = [np.asarray(sheet(site)) for site in ("a", "b")]
    Image.fromarray(np.concatenate(sheets)).save(arguments.file, quality=82)


if __name__ == "__main__":
    main()
