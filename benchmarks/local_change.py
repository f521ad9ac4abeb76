"""A small finding erased or moved, beside noise and blur: what measures of an image see of it.

    python -m benchmarks local_change [IMAGES]

On clean phantoms of the test split, with a disc of 1.06 % of the area (severity 3). Of each change:
the median over images of each measure's move, in standard deviations of clean images where it looks
at an image alone; and how many answers of phantomclip flip. A move of less than 0.1 is nothing that
a gate could see.
"""

import sys
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from medrobust.corruptions import corrupt
from medrobust.datasets import Phantoms
from medrobust.engine.loader import StoredImages
from medrobust.models import PhantomClip, PromptSet, ZeroShotHead, class_features
from medrobust.quality import MEASURES, measure

NAMES = [
    *("ssim", "ms_ssim", "vif", "gmsd", "haarpsi"),
    *("noise_sigma", "laplacian_variance", "sharpness", "entropy", "brightness", "contrast"),
]
LOCAL = "local_change"


def changes(rows: Tensor) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return what is done to images, by name."""
    keyed = {"stream": "phantoms/test", "index": rows}
    return {
        "1 % erased": lambda i: corrupt(i, "local_erase", severity=3, suite=LOCAL, **keyed),
        "1 % moved": lambda i: corrupt(i, "local_move", severity=3, suite=LOCAL, **keyed),
        "gaussian_noise s1": lambda i: corrupt(i, "gaussian_noise", severity=1, **keyed),
        "motion_blur s1": lambda i: corrupt(i, "motion_blur", severity=1, **keyed),
    }


def answers(images: Tensor, classes: Tensor, model: object) -> Tensor:
    """Return the predicted class of each image."""
    encoded = [
        model.encode_image(model.preprocess(part))  # type: ignore[attr-defined]
        for part in images.split(32)
    ]
    return ZeroShotHead(classes, None, 1.0).logits(torch.cat(encoded)).argmax(1)


def main(arguments: Sequence[str]) -> int:
    """Print one line a change."""
    data = Phantoms(name="phantoms").load("test")
    step = max(1, len(data) // int(arguments[0])) if arguments else 1
    rows = list(range(0, len(data), step))
    read = StoredImages(data).__getitems__(rows)
    clean = read.images.expand(-1, 3, -1, -1).contiguous()
    model = PhantomClip(name="phantomclip", variant="base").load()
    texts = PromptSet("phantoms", ["an image of {}"]).texts(
        dataset=data.name, class_texts=data.texts, modality=data.modality
    )
    with torch.inference_mode():
        classes = class_features(model, texts)
        before, base = answers(clean, classes, model), measure(clean, NAMES, clean=clean)
        print(" · ".join(["change", "answers flipped, %", *NAMES]))
        for name, change in changes(read.index).items():
            shown = change(clean)
            after = measure(shown, NAMES, clean=clean)
            flipped = 100 * (answers(shown, classes, model) != before).float().mean().item()
            print(" · ".join([name, f"{flipped:.1f}", *(_move(n, base, after) for n in NAMES)]))
    return 0


def _move(name: str, base: dict[str, Tensor], after: dict[str, Tensor]) -> str:
    if MEASURES[name].full_reference:
        return f"{after[name].median().item():.3f}"
    spread = float(np.std(base[name].numpy()))
    return f"{(after[name] - base[name]).median().item() / spread:+.2f}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
