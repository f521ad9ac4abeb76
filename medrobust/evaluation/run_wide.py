"""Values of the run-wide keys, checked before anything heavy is imported for them."""

from collections.abc import Mapping
from typing import Any

from medrobust.exceptions import ConfigurationError

SWITCHES = (
    *("resume", "store.features", "validation", "sanity", "audit", "store.examples", "dry_run"),
)
"""Keys that are true or false; `resume=no` as text would be true."""

NUMBERS = ("seed", "batch_size", "num_workers")

PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")

LICENSES = ("any", "commercial")

KEYS = (*SWITCHES, *NUMBERS, "reference", "severity.levels", "trainer.precision", "license")


def run_wide(config: Mapping[str, Any]) -> dict[str, Any]:
    """Pick the run-wide keys out of a resolved configuration: dotted key -> value.

    Example:
        >>> run_wide({"seed": 3, "store": {"features": True, "dir": "x"}})
        {'store.features': True, 'seed': 3}
    """
    found = {}
    for key in KEYS:
        *above, last = key.split(".")
        table: Any = config
        for name in above:
            table = table.get(name) if isinstance(table, Mapping) else None
        if isinstance(table, Mapping) and last in table:
            found[key] = table[last]
    return found


def check_run_wide(values: Mapping[str, Any]) -> None:
    """Refuse text where a switch or a number belongs, and what no run can have.

    Args:
        values: Dotted key -> value; a key that is not there is not looked at.

    Raises:
        ConfigurationError: Naming the key.
    """
    _check_kinds(values)
    _check_levels(values.get("severity.levels", [1]))
    batch_size, workers = values.get("batch_size", "auto"), values.get("num_workers", 0)
    if (batch_size != "auto" and batch_size < 1) or workers < 0:
        raise ConfigurationError(
            f"batch_size={batch_size} must be at least 1 and num_workers={workers} at least 0."
        )
    if values.get("seed", 0) < 0:
        raise ConfigurationError(f"seed={values['seed']} must not be negative.")
    precision = str(values.get("trainer.precision", PRECISIONS[0]))
    if precision not in PRECISIONS:
        raise ConfigurationError(
            f"trainer.precision={precision}: there are {', '.join(PRECISIONS)}. Weights "
            f"stay in float32, since class texts are encoded exactly."
        )
    if values.get("license", "any") not in LICENSES:
        raise ConfigurationError(f"license={values['license']}: write any or commercial.")


def _check_kinds(values: Mapping[str, Any]) -> None:
    for key in SWITCHES:
        value = values.get(key, False)
        if not isinstance(value, bool) and not (key == "store.examples" and value is None):
            raise ConfigurationError(f"{key}={value!r}: write true or false.")
    for key in NUMBERS:
        value = values.get(key, 1)
        automatic = key == "batch_size" and value == "auto"
        if isinstance(value, bool) or not (isinstance(value, int) or automatic):
            raise ConfigurationError(f"{key}={value!r} must be a whole number.")
    reference = values.get("reference", "clip_vit_b16")
    if not isinstance(reference, str) or not reference:
        raise ConfigurationError(
            f"reference={reference or 'null'}: name the model that CE and mCE compare "
            f"with, as reference=clip_vit_b16. Without its cells in the store the two stay "
            f"empty."
        )


def _check_levels(levels: Any) -> None:
    if not isinstance(levels, list | tuple) or not all(isinstance(level, int) for level in levels):
        raise ConfigurationError(
            f"severity.levels={levels} must be a list of whole numbers, as [1,3]."
        )
    wrong = [level for level in levels if level not in range(1, 6)]
    if not levels or wrong or len(set(levels)) < len(levels):
        raise ConfigurationError(
            f"severity.levels={list(levels)}: levels are 1, 2, 3, 4 and 5, each once."
        )
