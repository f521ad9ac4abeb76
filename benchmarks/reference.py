"""Time a published package. Runs in the package's own environment: nothing but numpy and it.

    python reference.py PACKAGE IMAGES.npy JOBS.json RESULT.json

JOBS is a list of [suite, corruption]; RESULT gets "suite/corruption" -> milliseconds an image, the
mean over five severities, or a sentence that says why it could not run.
"""

# ruff: noqa: ANN001, ANN201, F401, UP031
import json
import sys
import time
import types

import numpy as np

LONG_ENOUGH = 0.2
"""Seconds that are measured at each severity, unless one pass takes longer."""


def milliseconds(call, images):
    """Time `call` an image in processor time: the fastest of several passes."""
    call(images[0])
    passes, spent = [], 0.0
    while len(passes) < 2 or (spent < LONG_ENOUGH and len(passes) < 20):
        start = time.process_time()
        for image in images:
            call(image)
        passes.append(time.process_time() - start)
        spent += passes[-1]
    return min(passes) / len(images) * 1000


def imagecorruptions(suite, name):
    """Return severity -> (image -> corrupted image)."""
    from imagecorruptions import corrupt

    return lambda severity: lambda image: corrupt(image, corruption_name=name, severity=severity)


def medmnistc(suite, name):
    """Return severity -> (image -> corrupted image); ImageMagick is stood in for if missing."""
    try:
        import wand.image
    except ImportError:
        if name == "motion_blur":
            raise
        for module in ("wand", "wand.image", "wand.api"):
            sys.modules[module] = types.ModuleType(module)
        sys.modules["wand.image"].Image = object
        sys.modules["wand.api"].library = types.SimpleNamespace(
            MagickMotionBlurImage=types.SimpleNamespace()
        )
    from medmnistc.corruptions.registry import CORRUPTIONS_DS
    from PIL import Image

    corruption = CORRUPTIONS_DS[suite][name]
    corruption.rng = np.random.default_rng(0)
    return lambda severity: (
        lambda image: np.asarray(corruption.apply(Image.fromarray(image), severity - 1))
    )


def measure_package():
    """Measure every job and write what came out after each."""
    package, images, jobs, result = sys.argv[1:]
    import cv2

    cv2.setNumThreads(1)
    images = list(np.load(images))
    with open(jobs) as file:
        jobs = json.load(file)
    found = {}
    for suite, name in jobs:
        try:
            make = globals()[package](suite, name)
            found[suite + "/" + name] = float(
                np.mean([milliseconds(make(severity), images) for severity in range(1, 6)])
            )
        except Exception as error:
            found[suite + "/" + name] = "%s: %s" % (type(error).__name__, str(error).split("\n")[0])
        with open(result, "w") as file:
            json.dump(found, file)


if __name__ == "__main__":
    measure_package()
