"""Artifacts of devices: milliseconds for an image of 224 x 224, beside TorchIO and MONAI.

    python -m benchmarks devices [--write docs/performance/corruptions.md]

One core is processor time of one thread, the fastest of several passes, in batches. TorchIO
and MONAI take one image a call, with the same parameters, and must give the same grey values; they
are measured where they are installed (`pip install torchio==1.2.1 monai==1.6.1`). With --write the
section is laid at the end of a page, in place of the one before it.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.corruptions import DEVICES as TITLE
from benchmarks.corruptions import SEVERITIES, SIDE, fastest, make_images, processor
from benchmarks.environments import one_thread_libraries

BATCH = 16
COLORED = ("histopathology", "fundus photography", "endoscopy", "dermatoscopy", "")
"""Devices whose pictures are measured in color; the others are grey."""


OTHERS = (
    *(("roodmri", "elastic"), ("histopathology_c", "bubble_blur"), ("histopathology_c", "hue")),
    *(("medfm_robust", name) for name in ("rotation", "motion_blur", "brightness_contrast")),
    *(("imagenet_c_original", "elastic_transform"), ("occlusion", "occlusion")),
    *(("local_change", "local_erase"), ("local_change", "local_move")),
)
"""Suite and corruption of kernels that no other table of the page has."""


def measured_corruptions() -> list[tuple[str, str]]:
    """List suite and corruption of all that are measured."""
    from medrobust.corruptions import suites
    from medrobust.corruptions.modality import MEDFM, PHYSICS

    whole = (*PHYSICS.values(), "overlays", *MEDFM.values())
    return [*((suite, name) for suite in whole for name in suites(suite)), *OTHERS]


def milliseconds(call: Callable[[], object], images: int = 1) -> float:
    """Time a call on one core, an image."""
    return 1000 * fastest(call, time.process_time, 0.05) / images


def rows() -> Iterator[tuple[str, str, str, float]]:
    """Yield suite, corruption, kind of picture, and its milliseconds, mean over severities."""
    import torch

    from medrobust.corruptions import corrupt
    from medrobust.corruptions.kernels import KERNELS
    from medrobust.corruptions.suites import find_entry

    torch.set_num_threads(1)
    color = torch.from_numpy(np.ascontiguousarray(make_images(4).transpose(0, 3, 1, 2)))
    for suite, name in measured_corruptions():
        in_color = KERNELS[find_entry(suite, name).kernel].device in COLORED
        batch = color if in_color else color[:, :1].contiguous()
        times = [
            milliseconds(partial(corrupt, batch, name, severity=s, suite=suite), len(batch))
            for s in SEVERITIES
        ]
        yield suite, name, "color" if in_color else "grey", sum(times) / len(times)


def slice_of_grey() -> np.ndarray:
    """Make a slice of whole grey values, black about it: float64 (224, 224)."""
    from scipy.ndimage import gaussian_filter

    grey = np.rint(gaussian_filter(make_images(1)[0, :, :, 0].astype(float), 1))
    grey[:24], grey[-24:], grey[:, :24], grey[:, -24:] = 0, 0, 0, 0
    return grey


def pairs(grey: np.ndarray) -> Iterator[tuple[str, str, Callable[[], Any], Callable[[Any], Any]]]:
    """Yield corruption, operation, the package's call, and ours, of equal parameters."""
    import torch
    import torchio as tio
    from monai.transforms import GibbsNoise, RandRicianNoise

    from medrobust.corruptions import mri, mri_motion, mri_sampling
    from medrobust.keys import Draws

    slab = torch.from_numpy(grey).float()[None, :, :, None]
    still = torch.zeros(BATCH, 1, dtype=torch.long)
    ghosts = tio.Ghosting(num_ghosts=4, axis=0, intensity=0.6, restore=None)
    yield (
        *("ghosting", "TorchIO Ghosting", lambda: ghosts(slab)),
        lambda batch: mri.ghosting(batch, 4, 0.6, axis=still),
    )
    half = SIDE // 2
    point = np.array([[(half + 7) / SIDE + 1e-6, (half + 20) / SIDE + 1e-6, 0.0]])
    stripes = tio.Spike(point, 0.5)
    yield (
        *("spike", "TorchIO Spike", lambda: stripes(slab)),
        lambda batch: mri.spike(batch, 0.5, row=still + 7, column=still + 20),
    )
    given = np.random.default_rng(1).uniform(-0.5, 0.5, 10)
    numbers, volume = iter(given), []
    for i in range(4):
        for j in range(4 - i):
            volume += [next(numbers)] + [0.0] * (3 - i - j)
    field, own = tio.BiasField(volume, 3), torch.from_numpy(given / 0.5).repeat(BATCH, 1)
    yield (
        *("bias_field", "TorchIO BiasField", lambda: field(slab)),
        lambda batch: mri.bias_field(batch, 0.5, coefficients=own),
    )
    shifts = np.array([[0, 6, -2], [0, -6, 2.0]])
    edges = mri_motion.segment_edges(SIDE, np.array([0.5, 0.5]))[1:3]
    motion = tio.Motion(np.zeros((2, 3)), shifts, edges / SIDE + 1e-4, "linear")
    path = 0.5 + torch.tensor([0, 6, 2, 0, 0, -6, -2, 0]).double() / SIDE / 0.4
    yield (
        *("mr_motion", "TorchIO Motion", lambda: motion(slab.reshape(1, 1, SIDE, SIDE))),
        lambda batch: mri_motion.mr_motion(
            batch, 0, 0.2, axis=still + 1, path=path.repeat(BATCH, 1)
        ),
    )
    coarse = tio.RandomAnisotropy(axes=(0,), downsampling=(3.3, 3.3))
    yield (
        *("anisotropy", "TorchIO RandomAnisotropy", lambda: coarse(slab)),
        lambda batch: mri_sampling.anisotropy(batch, 3.3, axis=still),
    )
    ringing, plane = GibbsNoise(0.7), slab[..., 0]
    yield (
        *("gibbs", "MONAI GibbsNoise", lambda: ringing(plane)),
        lambda batch: mri.gibbs(batch, 0.7),
    )
    noise = RandRicianNoise(prob=1.0, std=20.0)
    keyed = [Draws((1, 2), torch.arange(BATCH), 16 * d) for d in (0, 1)]
    keyed[1] = Draws((1, 2), keyed[0].index, 16)
    yield (
        *("rician_noise", "MONAI RandRicianNoise", lambda: noise(plane)),
        lambda batch: mri.rician_noise(batch, 20 / 255, real=keyed[0], imaginary=keyed[1]),
    )


def compared() -> Iterator[tuple[str, str, float, float, str]]:
    """Yield corruption, operation, their time, ours, and how far grey values are apart."""
    import torch

    grey = slice_of_grey()
    batch = torch.from_numpy(grey.astype(np.uint8))[None, None].repeat(BATCH, 1, 1, 1)
    for name, operation, theirs, ours in pairs(grey):
        found = np.rint(np.asarray(theirs()).reshape(SIDE, SIDE)).clip(0, 255)
        apart = np.abs(ours(batch)[0, 0].numpy().astype(float) - found)
        if name == "rician_noise":
            said = "other draws"
        else:
            said = f"{(apart > 1).mean():.2%} of pixels by more than 1"
        own = milliseconds(partial(ours, batch), BATCH)
        yield name, operation, milliseconds(theirs), own, said


def section() -> str:
    """Measure, and write the section as markdown."""
    lines = [
        TITLE,
        "",
        f"Written by `python -m benchmarks devices --write docs/performance/corruptions.md`: one "
        f"core, 4 images of {SIDE} x {SIDE} a call, mean over severities, on {processor()}.",
        "",
        "| suite | corruption | picture | ms |",
        "|--|--|--|--:|",
    ]
    lines += [f"| {s} | {name} | {kind} | {ms:.3f} |" for s, name, kind, ms in rows()]
    lines += ["", "### Beside TorchIO and MONAI", ""]
    missing = [name for name in ("torchio", "monai") if find_spec(name) is None]
    if missing:
        return "\n".join([*lines, f"Not measured: {' and '.join(missing)} not installed.", ""])
    lines += [
        f"TorchIO {version('torchio')} and MONAI {version('monai')}, one grey image a call, equal "
        "parameters, in the same run. MONAI lays the disk of Gibbs half a pixel off the zero "
        "frequency where sides are even; TorchIO's anisotropy makes the outermost pixels black.",
        "",
        "| corruption | operation | theirs | ours | ratio | grey values apart |",
        "|--|--|--:|--:|--:|--|",
    ]
    for name, operation, theirs, ours, said in compared():
        ratio = theirs / ours
        lines.append(f"| {name} | {operation} | {theirs:.3f} | {ours:.3f} | {ratio:.1f} | {said} |")
    return "\n".join([*lines, ""])


def with_section(page: str, text: str) -> str:
    """Lay the section at the end of a page, in place of the one that it has."""
    return f"{page.partition(TITLE)[0].rstrip()}\n\n{text}"


def main(arguments: Sequence[str]) -> int:
    """Measure, print, and write if asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks devices")
    parser.add_argument("--write", type=Path, help="also lay the section at the end of this page")
    options = parser.parse_args(arguments)
    one_thread_libraries()
    warnings.simplefilter("ignore")
    text = section()
    print(text)
    if options.write:
        page = options.write.read_text(encoding="utf-8")
        options.write.write_text(with_section(page, text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
