"""Which device made each image, by the Modality (0008,0060) of its header."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from medrobust.base.devices import CODES, HeaderModalities
from medrobust.datasets.cache import ArrayWriter, cached_array
from medrobust.exceptions import printable

from .dicom_headers import opened, quiet_pydicom
from .samples import Sample, each_sample

CODE: Final = np.dtype(f"S{max(map(len, CODES))}")


def header_modalities(
    name: str, samples: Sequence[Sample], *, key: Mapping[str, Any], cache_dir: str | None
) -> HeaderModalities:
    """Return the modality of each image, read once.

    What is no known code may be anything, the name of a patient too, and is kept as "".

    Args:
        name: Of the data set.
        samples: Its images.
        key: What identifies their files, for the cache.
        cache_dir: See `medrobust.datasets.cache.cache_folder`.

    Raises:
        InvalidImageError: If a header cannot be read.
    """

    def read(sample: Sample) -> str:
        with opened(sample.file) as (header, _):
            code = str(header.get("Modality", "") or "").strip().upper()
        return code if code in CODES else ""

    def write(target: Path) -> str:
        with quiet_pydicom(), ArrayWriter(target, CODE, (len(samples),)) as writer:
            for code in each_sample(read, samples):
                writer.write(np.array(code, CODE).tobytes())
            return writer.close()

    asked = {**key, "kind": "dicom-modalities", "codes": sorted(CODES)}
    found = cached_array(f"{name}-modalities", asked, write, cache_dir=cache_dir)
    return HeaderModalities(
        [code.decode() for code in found.open().tolist()],
        [printable(sample.file.name) for sample in samples],
        [sample.place for sample in samples],
    )
