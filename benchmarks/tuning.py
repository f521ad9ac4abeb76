"""Time and memory of a tuning step against a plain loop: `python benchmarks/tuning.py`.

Both sides tune the same low-rank updates of the same model on the same batches: uint8 images,
preprocessing, image tower, cosine with frozen class texts, cross-entropy, backward, clipping,
AdamW, cosine rate. One side is `tuning=few_shot` through Lightning with its guards on; the other is
peft's `get_peft_model` and a loop in plain PyTorch. Sides take turns, each in a fresh process;
printed is the median step of all rounds, and the largest memory.

    python benchmarks/tuning.py                          # demonstration model, 224 pixels
    python benchmarks/tuning.py --model vit_b16          # a ViT-B/16 with random weights
    python benchmarks/tuning.py --model vit_b16 --device cuda --precision bf16-mixed
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

SIDES = ("medrobust", "plain")
WARM = 3
"""Steps that are not counted."""


Marks = list[tuple[float, float]]
"""Wall clock and processor time at the end of each step, in seconds."""


def mark(marks: Marks, device: str) -> None:
    """Note the end of a step."""
    if device == "cuda":
        torch.cuda.synchronize()
    marks.append((time.perf_counter(), time.process_time()))


SIZES = {
    "vit_b16": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12},
    "vit_l14_336": {
        "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16,
        "patch_size": 14, "image_size": 336,
    },
}  # fmt: skip
"""Of visual encoders, as transformers names them; the layers between are four times as wide."""


def model_of(kind: str) -> Any:
    """Build the demonstration model, or a CLIP vision transformer with random weights, no text."""
    from medrobust.models import PhantomClip

    model = PhantomClip().load()
    if kind in SIZES:
        from medrobust.models.open_clip_towers import TimmVision
        from medrobust.models.preprocess import CLIP_MEAN, CLIP_STD, Preprocess

        sizes = SIZES[kind]
        torch.manual_seed(0)
        tower = TimmVision(sizes | {"intermediate_size": 4 * sizes["hidden_size"]}, 64)
        model.visual_encoder = tower
        model.preprocess = Preprocess(sizes.get("image_size", 224), CLIP_MEAN, CLIP_STD)
    return model.eval()


def images_of(count: int) -> Any:
    """Make a set of random pictures of twenty classes."""
    from medrobust.datasets import ImageSet

    rng = np.random.default_rng(0)
    return ImageSet(
        name="random",
        split="train",
        images=rng.integers(0, 256, (count, 224, 224, 3), dtype=np.uint8),
        labels=np.arange(count) % 20,
        label_kind="multi-class",
        class_names=tuple(f"class {number}" for number in range(20)),
        ids=np.array([str(row) for row in range(count)]),
        index=np.arange(count),
        fingerprint="0" * 64,
    )


def head_of() -> Any:
    """Return class texts: unit vectors."""
    from medrobust.models.zero_shot import ZeroShotHead

    generator = torch.Generator().manual_seed(0)
    features = functional.normalize(torch.randn(20, 64, generator=generator), dim=-1)
    return ZeroShotHead(features, None, 20.0)


def medrobust_steps(options: argparse.Namespace) -> Marks:
    """Run `FewShot` and return when each step ended."""
    import pytorch_lightning as lightning

    from medrobust.adapters import Lora
    from medrobust.engine.quiet import quiet_lightning
    from medrobust.tuning import FewShot, Tuning

    class Clock(lightning.Callback):
        def __init__(self) -> None:
            self.marks: Marks = []

        def on_train_batch_end(self, *_: Any) -> None:
            mark(self.marks, options.device)

    model, recipe = model_of(options.model), Lora(rank=8, alpha=16)
    recipe.attach(model)
    tuning = Tuning(
        partial(torch.optim.AdamW, lr=1e-3), epochs=1, batch_size=options.batch, choose="last"
    )
    shots = images_of(options.batch * (options.steps + WARM))
    module = FewShot(model, recipe, [head_of()], [shots], [None], tuning)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder, quiet_lightning():
        lightning.Trainer(
            accelerator="gpu" if options.device == "cuda" else "cpu",
            devices=1,
            precision=options.precision,
            max_epochs=1,
            limit_val_batches=0,
            gradient_clip_val=1.0,
            callbacks=[clock],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            default_root_dir=folder,
        ).fit(module)
    return clock.marks


def plain_steps(options: argparse.Namespace) -> Marks:
    """Run peft and a loop, and return when each step ended."""
    from peft import LoraConfig, get_peft_model

    device = torch.device(options.device)
    model = model_of(options.model)
    targets = r"visual_encoder\..*attention\.(q|k|v)_proj"
    adapted = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=targets))
    adapted.to(device).train()
    trained = [value for value in adapted.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3)
    steps = options.steps + WARM
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    shots, classes = images_of(options.batch * steps), head_of().present.to(device)
    order = np.random.default_rng(0).permutation(len(shots))
    mixed = options.precision == "bf16-mixed"
    marks: Marks = []
    for step in range(steps):
        rows = order[step * options.batch : (step + 1) * options.batch]
        stored = torch.from_numpy(np.ascontiguousarray(np.moveaxis(shots.images[rows], -1, 1)))
        labels = torch.from_numpy(shots.labels[rows]).to(device)
        pixels = model.preprocess(stored.to(device))
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=mixed):
            features = functional.normalize(model.visual_encoder(pixels).float(), dim=-1)
        loss = functional.cross_entropy(20.0 * features @ classes.T, labels)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        mark(marks, options.device)
    return marks


def one_side(options: argparse.Namespace) -> dict[str, float]:
    """Measure one side in this process."""
    run = medrobust_steps if options.side == "medrobust" else plain_steps
    wall, work = np.median(np.diff(np.array(run(options)[WARM - 1 :]), axis=0), axis=0).tolist()
    if options.device == "cuda":
        memory = torch.cuda.max_memory_allocated() / 2**20
    else:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    return {"wall": wall, "work": work, "memory": memory}


def main(arguments: Sequence[str]) -> int:
    """Let the sides take turns and print what they took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", choices=("phantomclip", *SIZES), default="phantomclip")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", default="32-true")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.side:
        print(json.dumps(one_side(options)))
        return 0
    found: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    place = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    for number in range(options.rounds):
        for side in SIDES if number % 2 == 0 else SIDES[::-1]:
            command = [sys.executable, __file__, *arguments, "--side", side]
            done = subprocess.run(command, env=place, capture_output=True, text=True, check=True)
            found[side].append(json.loads(done.stdout.splitlines()[-1]))
    print(f"{options.model}, {options.device}, {options.precision}, batch {options.batch}")
    for side in SIDES:
        step = statistics.median(one["wall"] for one in found[side])
        work = statistics.median(one["work"] for one in found[side])
        memory = max(one["memory"] for one in found[side])
        print(
            f"{side:>10}: {1000 * step:8.1f} ms a step ({1000 * work:8.1f} ms of processor time), "
            f"{options.batch / step:8.1f} images/s, {memory:8.0f} MiB"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
