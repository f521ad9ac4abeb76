"""What a model is: keys, size, preprocessing, checksum, speed, memory."""

import resource
import sys
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from medrobust.exceptions import WeightsMismatchError

from .encoding import MicroBatcher

SIDE = 224
ALIKE = 1e-6
"""Difference, of the largest feature, below which two vectors are one."""

ROUNDS = 3
"""Micro-batches that are timed, after one that is not."""


def card() -> Tensor:
    """Draw one picture, uint8 (1, 3, 224, 224): ramps, a checkerboard, a disc, stripes."""
    row, column = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    disc = ((row - 150) ** 2 + (column - 70) ** 2 < 50**2) * 120
    checks = ((row // 16 + column // 16) % 2) * 90
    red = (row + disc) % 256
    green = (column + checks) % 256
    blue = ((row * column) // 97 + (row // 7 % 2) * 60) % 256
    return torch.stack([red, green, blue]).to(torch.uint8)[None]


def checksum(features: Tensor) -> float:
    """Weigh the values of one feature vector by a cosine: one number, stable to about 1e-5."""
    return float((features[0].double() * torch.arange(features.shape[1]).double().cos()).sum())


def describe(source: Any, speed: Any) -> Iterator[str]:
    """Load the model and yield one line a fact."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    yield f"model           {source.name}"
    yield f"fingerprint     {source.weights_fingerprint()}"
    model = speed.apply(source.load())
    yield from report_lines(source, model.report)
    yield from size_lines(model)
    yield f"preprocessing   {model.preprocess.description()}"
    yield f"speed           {speed.description() or 'exact'}"
    if hasattr(model, "logit_scale"):
        yield f"logit scale     {model.logit_scale:.4f}"
        _check_finite(torch.tensor(model.logit_scale), "its logit scale is")
    with torch.no_grad():
        features = model.encode_image(model.preprocess(card()))
        turned = model.encode_image(model.preprocess(255 - card().flip(-1)))
    _check_finite(features, "its features of the test card are")
    _check_apart(features, turned, "of two pictures")
    yield f"features        {features.shape[1]}, test card {checksum(features):+.5f}"
    if hasattr(model, "encode_text"):
        texts = model.encode_text(["a test card", "no disc, and no stripe"])
        _check_finite(texts, "its features of a sentence are")
        _check_apart(texts[:1], texts[1:], "of two sentences")
        yield f"                a sentence {checksum(texts):+.5f}"
    model.to(device)
    rate = images_per_second(model, source.micro_batch)
    place = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    yield f"rate            {rate:.1f} images per second, {source.micro_batch} at a time, {place}"
    yield f"memory          {peak_memory(device):.0f} MB at most"


def _check_finite(values: Tensor, what: str) -> None:
    """Refuse a model that computes nothing.

    Raises:
        WeightsMismatchError: If a value is NaN or infinite.
    """
    if not values.isfinite().all():
        raise WeightsMismatchError(
            f"the model loads, but {what} NaN or infinite: its weights are broken, or the chosen "
            f"precision is too small for them (speed=exact is full precision)."
        )


def _check_apart(one: Tensor, other: Tensor, what: str) -> None:
    """Refuse a model that answers whatever it is shown with the same features.

    Raises:
        WeightsMismatchError: If two differ by no more than rounding does.
    """
    if (one - other).abs().max() <= ALIKE * max(float(one.abs().max()), ALIKE):
        raise WeightsMismatchError(
            f"the model loads, but its features {what} are the same: its weights, or those of a "
            f"layer, are constant (all zero?), and it could tell no classes apart. Fetch them "
            f"again."
        )


def report_lines(source: Any, report: Any) -> Iterator[str]:
    """Say where the weights are from and what became of every key."""
    yield f"source          {report.source} {report.revision}".rstrip()
    yield f"license         {report.license or 'not stated'}"
    yield f"trained on      {', '.join(report.trained_on) or 'not stated'}"
    for name, digest in report.files.items():
        yield f"file            {name} {digest[:16]}"
    yield f"keys            {report.used} used, {len(report.renamed)} renamed"
    for old, new in list(report.renamed.items())[:3]:
        yield f"                {old} -> {new}"
    for key, reason in report.dropped.items():
        yield f"                {key} dropped: {reason}"


def size_lines(model: Any) -> Iterator[str]:
    """Count parameters, by tower."""
    for name in ("visual_encoder", "text_encoder"):
        tower = getattr(model, name, None)
        if tower is not None:
            count = sum(parameter.numel() for parameter in tower.parameters())
            yield f"{name:<16}{count / 1e6:.2f} M parameters"
    count = sum(parameter.numel() for parameter in model.parameters())
    yield f"all             {count / 1e6:.2f} M parameters"


def images_per_second(model: Any, micro_batch: int) -> float:
    """Time preprocessing and encoding of whole micro-batches, the first one not counted."""
    images = card().expand(micro_batch, -1, -1, -1)
    batcher = MicroBatcher(model, micro_batch)
    batcher.push(images)
    _wait()
    started = time.perf_counter()
    for _ in range(ROUNDS):
        batcher.push(images)
    _wait()
    return ROUNDS * micro_batch / (time.perf_counter() - started)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def peak_memory(device: torch.device) -> float:
    """Return the most memory that was held so far, in MB: of the device, or of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
