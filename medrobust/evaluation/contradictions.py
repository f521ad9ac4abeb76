"""Whether what a cell says of itself agrees with itself: fingerprints, names and data.

A seal says that a record is as it was written; this says that it is a record of that very cell,
which counts where there is no seal, and where whole folders were moved. What a fingerprint takes in
cannot be changed; names that tables read are compared with it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from medrobust.base.redaction import HIDDEN
from medrobust.base.split_facts import SplitFacts
from medrobust.corruptions.blank import SANITY_IMAGES
from medrobust.corruptions.suites import (
    BETWEEN,
    FOLDERS,
    PAIRS,
    SANITY,
    SEVERITIES,
    load_suite,
    place_of,
    suites,
)
from medrobust.tasks.base import ONLINE, unlike
from medrobust.tasks.lookup import task_of

from .cells import CellKey, CellSpec

NAMED = frozenset({"kernel", "composed", "files", "windows"})
"""Parts of what decides pixels beside which the name is that of tables, too."""

NO_IMAGES = {one.identity(1)["name"]: one.name for one in SANITY_IMAGES}
"""What decides the pixels of images that show nothing -> their names in tables."""


def contradiction(
    key: CellKey, data: SplitFacts, stated: tuple[str, str], config: Any = None
) -> str | None:
    """Say which parts of a cell contradict one another, or return None.

    Args:
        key: Its name, encoding and head, as the record has them.
        data: Facts of the split that it names.
        stated: Fingerprint of the cell, and of the encoding, as the record has them.
        config: Configuration of the job that made it, where the record has one.
    """
    of_encoding = key.encoding_fingerprint
    own = key.fingerprint_of(of_encoding)
    if stated != (own, of_encoding):
        return f"its encoding and head are those of the cell {own[:12]}"
    if key.encoding.get("data", data.fingerprint) != data.fingerprint:
        return "its data is not that of its encoding"
    if complaint := _misnamed(key.spec.dataset, key.spec.split, data):
        return complaint
    if "corruption" in key.encoding and key.encoding.get("seed") != key.spec.seed:
        return "its seed is not that of its encoding"
    return _of_model(key, config) or _of_corruption(key.spec, key.encoding.get("corruption"))


def misfit(record: Mapping[str, Any], data: SplitFacts) -> str | None:
    """Say why a cell does not fit the facts of its split, by its record alone, or return None.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: If the record lacks a part.
        UnknownNameError: If no task has the head's kind.
    """
    if complaint := _misnamed(record["cell"]["dataset"], record["cell"]["split"], data):
        return complaint
    arrays = {
        name: np.broadcast_to(np.zeros((), stated["dtype"]), stated["shape"])
        for name, stated in record["arrays"].items()
    }
    return unlike(task_of(str(record["head"]["kind"])).arrays, arrays, data)


def _misnamed(dataset: Any, split: Any, data: SplitFacts) -> str | None:
    if (dataset, split) == (data.name, data.split):
        return None
    return f"it is named after {dataset}/{split}, and has data of {data.name}/{data.split}"


def _of_model(key: CellKey, config: Any) -> str | None:
    """Compare the model with the configuration, and its adapter with the encoding and the head."""
    if "weights" not in key.encoding:
        return None
    model, asked = (_part(config, name) for name in ("model", "adapter"))
    if model.get("name") not in (None, HIDDEN, key.spec.model):
        return f"its model is not {model['name']!r}, that of its configuration"
    adapter, online = key.encoding.get("adapter"), ONLINE in key.head
    adapts = online or (isinstance(adapter, Mapping) and len(adapter) > 0)
    plain = asked.get("_target_") == "medrobust.adapters.NoAdapter" and not online
    untuned = ("none", asked.get("name"))  # prompt_ensemble has a name, and adapts nothing
    if key.spec.adapter == "none" if adapts else plain and key.spec.adapter not in untuned:
        return "its adapter is not that of its encoding"
    return None


def _part(config: Any, name: str) -> Mapping[str, Any]:
    """Return a group of a configuration; an empty one where there is none."""
    group = config.get(name) if isinstance(config, Mapping) else None
    return group if isinstance(group, Mapping) else {}


def _of_corruption(spec: CellSpec, identity: Any) -> str | None:
    if not isinstance(identity, Mapping):
        return None
    clean = identity.get("name") == "clean"
    named = clean or not NAMED.isdisjoint(identity)
    if clean != (spec.severity == 0) or (named and identity.get("name") != spec.corruption):
        return "its corruption is not that of its encoding"
    if clean != (spec.corruption == "clean") or (clean and spec.suite != "none"):
        return "its corruption is not that of its encoding"
    nothing = NO_IMAGES.get(identity.get("name"))
    if (spec.suite == SANITY) != (nothing is not None) or nothing not in (None, spec.corruption):
        return "its corruption is not that of its encoding"
    levels = identity.get("levels", [identity.get("severity", spec.severity)])
    if max(levels) != spec.severity:
        return "its severity is not that of its encoding"
    if "windows" in identity and _step(spec) != identity.get("step"):
        return "its severity is not that of its encoding"
    if identity.get("files", spec.suite) != spec.suite:
        return "its suite is not that of its encoding"
    if "composed" in identity and not spec.suite.endswith(PAIRS):
        return "its suite is not that of its encoding"
    return _of_suite(spec, identity) if "kernel" in identity else None


def _step(spec: CellSpec) -> float | None:
    from medrobust.datasets.moved_windows import STEPS

    steps = STEPS.get(spec.corruption, ())
    return steps[spec.severity - 1] if 0 < spec.severity <= len(steps) else None


def _of_suite(spec: CellSpec, identity: Mapping[str, Any]) -> str | None:
    """Compare suite and severity with the parameters of a kernel."""
    if ".yaml" in spec.suite:  # a file of one's own
        return None
    suite, at, ending = spec.suite.partition("@")
    if at + ending != _ending(identity, ending) or suite == "none":
        return "its suite is not that of its encoding"
    if "severity" in identity or "parameters" not in identity or suite not in suites():
        return None
    entry = load_suite(suite).get(spec.corruption)
    if entry is None or entry.kernel != identity["kernel"]:
        return f"suite {suite} has no such corruption"
    stated = _comparable(identity["parameters"])
    fitting = [s for s in SEVERITIES if _comparable(entry.parameters(s)) == stated]
    if fitting and spec.severity not in fitting:
        return "its severity is not that of its encoding"
    if not fitting and identity.get("version") == entry.version:
        return "its suite is not that of its encoding"
    return None  # another version may have had other parameters


def _ending(identity: Mapping[str, Any], stated: str) -> str:
    """Give what the name of the suite must end with, where parameters are not all there is."""
    region, of = identity.get("region", [None, ""])[:2]
    place = place_of(identity.get("domain", ["picture"])[0], region, of)
    if "at" in identity:
        return f"{place}{BETWEEN}"
    return f"@{stated}" if "severity" in identity else place


def _comparable(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out folders of pictures, which an encoding names by their content."""
    return {name: value for name, value in parameters.items() if name not in FOLDERS}
