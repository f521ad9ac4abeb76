"""What headers of images say of their device, against what is declared and what is computed."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from medrobust.base.devices import CODES, HeaderModalities, alike
from medrobust.base.findings import Finding
from medrobust.base.once import say_once
from medrobust.base.wording import agreeing, counted, listed
from medrobust.corruptions.config import Corruption
from medrobust.corruptions.modality import device_of, say_unchecked
from medrobust.exceptions import ConfigurationError, hiding

from .columns import Column

if TYPE_CHECKING:
    from medrobust.datasets.image_set import ImageSet

_LOG = logging.getLogger(__name__)

_TAG = "Modality (0008,0060)"


def check_headers(columns: Sequence[Column], image_set: "ImageSet") -> tuple[Finding, ...]:
    """Refuse artifacts of one device on images that another one made, by their headers.

    Headers without a known code contradict nothing.

    Returns:
        What a reader of the results should know: that headers contradict the declared modality, or
        name several devices.

    Raises:
        ConfigurationError: Naming an image and what its header says, unless the corruption is
            forced.
    """
    devices = [getattr(column, "device", "") for column in columns]
    said = None if image_set.headers is None else image_set.headers()
    if said is None or not all(said.codes):
        say_unchecked(devices, image_set.modality)
    if said is None:
        return ()
    for column, device in zip(columns, devices, strict=True):
        if device and not getattr(column, "force", False):
            _refuse(column, device, said, image_set)
    found = _contradiction(said, image_set) or _several(said, image_set)
    if not found:
        return ()
    say_once(_LOG, logging.WARNING, f"{image_set.name}: {found}")
    return (Finding("further remarks", found),)


def _refuse(column: Column, device: str, said: HeaderModalities, image_set: "ImageSet") -> None:
    others = _others(said, device)
    if not others:
        return
    first, codes = others[0], _codes(said, others)
    whole = len(others) == sum(map(bool, said.codes))
    stored = isinstance(column, Corruption) and column.domain == "stored"
    units = "Hounsfield units" if device == "CT" else f"those of {device}"
    declared = image_set.modality
    told = f"dataset.modality is {declared!r}" if declared else "dataset.modality is not given"
    begun = f"corruption {column.name!r} is an artifact of {device}, but the header of "
    sentence = (
        f" says {said.codes[first]} as {_TAG}, {_share(others, said, image_set)} "
        f"{agreeing(len(others), 'is')} {listed(codes)}, and {told}"
        + (f": their values would be taken for {units}. " if stored else ". ")
        + (
            f"Name what they are (dataset.modality={codes[0]}) and a corruption of that device"
            if whole
            else "Evaluate images of one device at a time"
        )
        + ", or pass corruption.force=true to compute it all the same."
    )
    raise hiding(
        ConfigurationError(f"{begun}{said.files[first]} ({said.places[first]}){sentence}"),
        f"{begun}the image of {said.places[first]}{sentence}",
    )


def _contradiction(said: HeaderModalities, image_set: "ImageSet") -> str:
    """Say that headers name another device than `dataset.modality`; "" where none does."""
    declared = device_of(image_set.modality)
    others = _others(said, declared) if declared else []
    if not others:
        return ""
    return (
        f"dataset.modality is {image_set.modality!r}, but the headers of "
        f"{_share(others, said, image_set)} say {listed(_codes(said, others))} as {_TAG}, first "
        f"that of {said.places[others[0]]}: name what the images are"
    )


def _several(said: HeaderModalities, image_set: "ImageSet") -> str:
    """Say that headers name several devices; "" where they do not."""
    first: dict[str, int] = {}
    for row, code in enumerate(said.codes):
        if code:
            first.setdefault(CODES[code], row)
    rows = list(first.values())
    if all(alike(CODES[said.codes[rows[0]]], CODES[said.codes[row]]) for row in rows):
        return ""
    told = [
        f"{sum(bool(code) and CODES[code] == device for code in said.codes)} of {device} "
        f"({said.codes[row]}, first {said.places[row]})"
        for device, row in first.items()
    ]
    total = counted(len(said.codes), "image")
    return (
        f"by {_TAG} of their headers, the {total} of {image_set.split} come from several devices: "
        f"{listed(told)}"
    )


def _others(said: HeaderModalities, device: str) -> list[int]:
    """Return the rows whose header names another device."""
    return [row for row, code in enumerate(said.codes) if code and not alike(CODES[code], device)]


def _codes(said: HeaderModalities, rows: Sequence[int]) -> list[str]:
    return list(dict.fromkeys(said.codes[row] for row in rows))


def _share(rows: Sequence[int], said: HeaderModalities, image_set: "ImageSet") -> str:
    return f"{len(rows)} of {counted(len(said.codes), 'image')} of {image_set.split}"
