"""Whether parts of a record have the types that a run writes: an edited one may have others."""

from collections.abc import Mapping
from types import MappingProxyType, NoneType
from typing import Any, Final, TypeAlias

Types: TypeAlias = Mapping[str, tuple[type, ...]]

CELL: Final[Types] = MappingProxyType(
    {
        **dict.fromkeys(("model", "adapter", "dataset", "split", "suite", "corruption"), (str,)),
        "severity": (int,),
        "seed": (int, NoneType),
    }
)
"""Of what people call a cell."""

RECORD: Final[Types] = MappingProxyType(
    {
        **dict.fromkeys(("config", "load_report", "adaptation", "versions"), (dict, NoneType)),
        "device": (str, NoneType),
        **dict.fromkeys(("seconds", "logit_scale"), (int, float, NoneType)),
    }
)
"""Of what else a run says of a cell."""

FACTS: Final[Types] = MappingProxyType(
    {
        **dict.fromkeys(("fingerprint", "name", "split", "origin", "license"), (str,)),
        "positive": (int, NoneType),
    }
)
"""Of the facts of a split; those of `LISTED` are lists of texts."""

LISTED: Final = ("class_names", "metadata_columns", "compared", "not_compared")


def mistyped(parts: Mapping[str, Any], types: Types) -> str | None:
    """Say which part has another type than a run writes, or return None.

    Example:
        >>> mistyped({"severity": 3.0}, CELL)
        'severity is 3.0'
        >>> mistyped({"severity": 3, "seed": True}, CELL)
        'seed is True'
    """
    for name, known in types.items():
        value = parts.get(name)
        if name in parts and (not isinstance(value, known) or isinstance(value, bool)):
            return f"{name} is {value!r:.60}"
    return None


def mislisted(facts: Mapping[str, Any]) -> str | None:
    """Say which list of a split is none of texts, or names a class twice, or return None.

    Example:
        >>> mislisted({"class_names": "ab"}), mislisted({"class_names": ["a", "a"]})
        ("class_names is 'ab'", "class_names name 'a' twice")
    """
    for name in LISTED:
        values = facts.get(name, [])
        if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
            return f"{name} is {values!r:.60}"
    names = facts.get("class_names", [])
    twice = next((name for name in names if names.count(name) > 1), None)
    return None if twice is None else f"class_names name {twice!r} twice"
