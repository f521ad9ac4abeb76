"""Settings as they are given: numbers, switches, names; others are refused by name."""

import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from medrobust.exceptions import ConfigurationError


def check_whole(key: str, value: object, *, least: int = 1, null: str = "") -> None:
    """Refuse what is no whole number from `least` on.

    Args:
        key: Of the setting.
        value: Given for it.
        least: Smallest that is meant.
        null: What None stands for; empty where it stands for nothing.

    Raises:
        ConfigurationError: Naming key and value.

    Example:
        >>> check_whole("task.normal_shots", None, null="all")
        >>> check_whole("task.normal_shots", 1.5, null="all")
        Traceback (most recent call last):
        medrobust.exceptions.ConfigurationError: task.normal_shots=1.5 must be a whole number, ...
    """
    if (value is None and null) or _is_whole(value, least):
        return
    otherwise = f", or null: {null}" if null else ""
    raise ConfigurationError(f"{key}={value} must be a whole number, {least} or more{otherwise}.")


def check_whole_list(key: str, value: object, *, null: str = "") -> None:
    """Refuse what is no list of whole numbers from 1 on, each once.

    Args:
        key: Of the setting.
        value: Given for it.
        null: What None stands for; empty where it stands for nothing.

    Raises:
        ConfigurationError: Naming key and value.
    """
    if value is None and null:
        return
    listed = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []
    if not listed or not all(_is_whole(one, 1) for one in listed) or len(set(listed)) < len(listed):
        otherwise = f", or null: {null}" if null else ""
        raise ConfigurationError(
            f"{key}={listed or value} must be a list of whole numbers from 1 on, each once, such "
            f"as [1,2]{otherwise}."
        )


def check_switch(key: str, value: object) -> None:
    """Refuse what is neither true nor false: every other word would count as true.

    Raises:
        ConfigurationError: Naming key and value.
    """
    if not isinstance(value, bool):
        raise ConfigurationError(f"{key}={value} must be true or false.")


def check_number(key: str, value: object) -> None:
    """Refuse what is no finite number.

    Raises:
        ConfigurationError: Naming key and value.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise ConfigurationError(f"{key}={value} must be a number.")


def check_name(key: str, value: object, *, null: str = "") -> None:
    """Refuse what is no name, nor None where that stands for something.

    Raises:
        ConfigurationError: Naming key and value.
    """
    if not (value is None and null) and not (isinstance(value, str) and value.strip()):
        otherwise = f", or null: {null}" if null else ""
        raise ConfigurationError(f"{key}={value} must be one name{otherwise}.")


def check_words(key: str, value: object, example: str) -> None:
    """Refuse what is no text; an empty one says that nothing is known.

    Raises:
        ConfigurationError: Naming key and value.
    """
    if not isinstance(value, str):
        raise ConfigurationError(
            f"{key}={value} must be a few words, such as {example!r}; leave it out where they are "
            f"not known."
        )


def names_given(key: str, value: object) -> tuple[str, ...]:
    """Return the names that a setting lists; one alone may stand without brackets.

    Raises:
        ConfigurationError: Naming key and value, if it is no name and no list of names.

    Example:
        >>> names_given("dataset.normal", "healthy"), names_given("dataset.normal", ["a", "b"])
        (('healthy',), ('a', 'b'))
    """
    listed = [value] if isinstance(value, str) else value
    if isinstance(listed, Sequence) and all(isinstance(name, str) for name in listed):
        return tuple(listed)
    quoted = (
        f"; numbers that are names stand in quotes: '{key}=[\"0\"]'" if _has_number(value) else ""
    )
    raise ConfigurationError(
        f"{key}={value} must be a list of names, such as [first,second]{quoted}."
    )


def _has_number(value: object) -> bool:
    listed = value if isinstance(value, Sequence) else [value]
    return any(isinstance(one, int | float) and not isinstance(one, bool) for one in listed)


def check_kinds(key: str, settings: type, given: Mapping[str, object]) -> None:
    """Refuse values of another kind than the fields of a class of settings are annotated with.

    Kinds are bool, int, float (finite), str, sequences of them, None, and any of several; other
    annotations, and keys that are no field, are left to the class.

    Args:
        key: What comes before the name of a field.
        settings: A dataclass.
        given: Name -> value.

    Raises:
        ConfigurationError: Naming key and value.
    """
    kinds = get_type_hints(settings)
    for name, value in given.items():
        if name in kinds and not _is_of(value, kinds[name]):
            told = " or ".join(_kind_words(kinds[name]))
            raise ConfigurationError(f"{key}.{name}={value} must be {told}.")


KINDS: Mapping[Any, tuple[type, str]] = {
    bool: (bool, "true or false"),
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    str: (str, "one name"),
    NoneType: (NoneType, "null"),
}
"""Annotation -> what its values are, and what they are called."""


def _is_of(value: object, kind: Any) -> bool:
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return any(_is_of(value, one) for one in parts)
    if origin is Sequence:
        listed = isinstance(value, Sequence) and not isinstance(value, str)
        return listed and all(_is_of(one, parts[0]) for one in value)  # type: ignore[attr-defined]
    if origin is Literal:
        return any(_is_of(value, type(one)) for one in parts)  # which one is for the class to say
    if kind not in KINDS:
        return True
    if isinstance(value, bool) and kind is not bool:
        return False
    fits = isinstance(value, KINDS[kind][0])
    return fits and not (isinstance(value, float) and not math.isfinite(value))


def _kind_words(kind: Any) -> list[str]:
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return [word for one in parts for word in _kind_words(one)]
    if origin is Sequence:
        return ["a list such as [first,second]"]
    if origin is Literal:
        return [", ".join(map(str, parts))]
    return [KINDS[kind][1]]


def _is_whole(value: object, least: int) -> bool:
    return not isinstance(value, bool) and isinstance(value, Integral) and int(value) >= least
