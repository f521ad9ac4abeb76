"""The main job against the straightforward way to the same numbers.

    python -m benchmarks straightforward [--images N] [--every N] [--write]

The straightforward way, as public code has it: a process a cell, which loads the model and a
compressed .npz, corrupts image by image on the CPU, encodes in the same micro-batches, and saves
logits. It uses our kernels, since the same logits are asked for; the published ones take 12 to 22
times as long. Ours is one process from the command to the last table and picture. Every Nth cell is
run the straightforward way, and its mean counts for all; logits must agree to 1e-5. Two to three
minutes on two cores.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.main_job import RUN, free_threads
from benchmarks.setting import publish

TOLERANCE = 1e-5
"""Of logits, though they come out equal bit for bit on one machine."""

CELL = """
import sys
import numpy as np
import torch
from torch.nn.functional import pad
from medrobust.corruptions import corrupt
from medrobust.models import PhantomClip, ZeroShotHead, class_features

data, name, severity, stream, out = sys.argv[1:]
source = PhantomClip()
model = source.load()
texts = np.load(data)["texts"].tolist()
head = ZeroShotHead(class_features(model, texts), None, model.logit_scale)
images = torch.from_numpy(np.moveaxis(np.load(data)["images"], -1, 1).copy())
index = torch.from_numpy(np.load(data)["index"])
features = []
with torch.inference_mode():
    for start in range(0, len(images), source.micro_batch):
        rows = range(start, min(start + source.micro_batch, len(images)))
        batch = torch.cat([
            corrupt(images[row:row + 1], name, severity=int(severity), stream=stream,
                    index=index[row:row + 1])
            for row in rows
        ])
        batch = pad(batch, (0, 0, 0, 0, 0, 0, 0, source.micro_batch - len(batch)))
        features.append(model.encode_image(model.preprocess(batch))[:len(rows)])
np.save(out, head.logits(torch.cat(features)).numpy())
"""


def main(arguments: Sequence[str]) -> int:
    """Print the table; exit with 1 if logits differ."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks straightforward")
    parser.add_argument("--images", type=int, default=420, help="of the data set")
    parser.add_argument("--every", type=int, default=5, help="cells to skip to the next, and one")
    parser.add_argument("--write", action="store_true", help="to docs/performance/")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        stream = write_arrays(folder / "data.npz", options.images)
        command = ["model=phantomclip", "corruption=medimeta_c", "severity=all"]
        command.append(f"dataset.limit={options.images}")
        own = timed([str(RUN), *command], folder)
        cells = stored(folder)
        seconds, equal, farthest = [], 0, 0.0
        for (name, severity), logits in list(cells.items())[:: options.every]:
            what = [str(folder / "data.npz"), name, str(severity), stream, str(folder / "out.npy")]
            seconds.append(timed(["-c", CELL, *what], RUN.parent))
            found = np.load(folder / "out.npy")
            equal += found.tobytes() == logits.tobytes()
            farthest = max(farthest, float(np.abs(found - logits).max()))
            print(f"{name} {severity}: {seconds[-1]:.1f} s", file=sys.stderr, flush=True)
    mean = sum(seconds) / len(seconds)
    text = "\n".join(
        [
            f"phantomclip, {len(cells)} cells of {options.images} images; {len(seconds)} of them "
            f"were run the straightforward way, {equal} with the same logits bit for bit, all "
            f"within {farthest:.1g}. Ours computes one more, clean validation.\n",
            "| way | seconds a cell | seconds of the matrix |",
            "|--|--:|--:|",
            f"| a process a cell | {mean:.2f} | {mean * len(cells):.0f} |",
            f"| `python run.py {' '.join(command)}` | {own / len(cells):.2f} | {own:.0f} |",
            f"| ratio | **{mean * len(cells) / own:.1f}** | |",
        ]
    )
    publish("Against the straightforward way", "straightforward", text, write=options.write)
    return int(farthest > TOLERANCE)


def write_arrays(path: Path, count: int) -> str:
    """Write images, index and class texts as a compressed .npz; return their stream."""
    from medrobust.datasets import Phantoms
    from medrobust.models import PromptSet
    from medrobust.tasks.classification.heads import head_description

    image_set = Phantoms(limit=count).load()
    prompts = PromptSet(
        name="phantoms", templates=["an image of {}", "a {modality} of {}", "findings: {}"]
    )
    texts = head_description(prompts, image_set)["texts"]
    np.savez_compressed(path, images=image_set.images, index=image_set.index, texts=np.array(texts))
    return image_set.stream


def stored(folder: Path) -> dict[tuple[str, int], np.ndarray]:
    """Return the logits of all cells of the test split that the run has written."""
    from medrobust.evaluation.store import Store

    cells = Store(folder / "outputs" / "store").cells()
    return {
        (cell.spec.corruption, cell.spec.severity): cell.arrays["logits"]
        for cell in cells
        if cell.spec.split == "test"
    }


def timed(arguments: Sequence[str], folder: Path) -> float:
    """Return the elapsed seconds of a fresh interpreter."""
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        check=True,
        capture_output=True,
        env=free_threads() | {"PYTHONPATH": str(RUN.parent), "OMP_WAIT_POLICY": "PASSIVE"},
    )
    return time.perf_counter() - started
