"""`adapter.online=[lame,{method: tda, published: true}]` -> the methods, one for each order."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from medrobust.base.near_misses import nearest_key
from medrobust.base.reasons import reason_of
from medrobust.exceptions import ConfigurationError, UnknownNameError

from .base import Online, plain
from .batch_norm import AdaBN, AlphaBN, EmaBN
from .entropy import Eata, Eta, Sar, Tent
from .lame import Lame
from .memo import TPT, Memo
from .norm_swap import NormSwap
from .nuisance import Nuisance
from .paired import BatClip, ClipArtt, Watt
from .priors import Prior
from .t3a import T3A
from .tda import TDA
from .teachers import Cotta, Rotta
from .transport import Transport
from .views import MTA, Zero

METHODS: Mapping[str, type[Online]] = MappingProxyType(
    {
        one.method: one
        for one in (
            *(Lame, T3A, TDA, Prior, Transport, Nuisance),
            *(AdaBN, AlphaBN, EmaBN, NormSwap),
            *(Tent, Eta, Eata, Sar),
            *(Cotta, Rotta),
            *(Zero, MTA, Memo, TPT),
            *(BatClip, ClipArtt, Watt),
        )
    }
)
"""Name, as typed -> class; in the order of docs/adaptation.md."""


def chosen(
    asked: Sequence[Any], orders: Sequence[int] = (0,), protocol: str | None = None
) -> tuple[Online, ...]:
    """Build the methods that were asked for, each once, in order.

    Args:
        asked: Names, or mappings of `method` and its parameters.
        orders: Of the images: a method that depends on it has a row for each.
        protocol: When methods begin anew, of those that do not say it themselves; None: the
            published one of each.

    Raises:
        UnknownNameError: If there is no such method.
        ConfigurationError: If a parameter or an order is none.
    """
    if not _listed(asked) or not _listed(orders) or not orders or not all(map(_counts, orders)):
        raise ConfigurationError(
            f"adapter.online={asked} must be a list ([lame,tda]), and adapter.orders={orders} a "
            f"list of whole numbers from 0 on ([0,1,2])."
        )
    made: dict[str, Online] = {}
    for one in asked:
        for order in orders:
            method = _built(one, order, protocol)
            made.setdefault(repr(method.description()), method)
    return tuple(made.values())


def _listed(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _counts(value: Any) -> bool:
    return type(value) is int and value >= 0


def _built(asked: Any, order: int, protocol: str | None) -> Online:
    given = dict(asked) if isinstance(asked, Mapping) else {"method": asked}
    name = str(given.pop("method", None))
    if name not in METHODS:
        near = nearest_key(name, list(METHODS))
        hint = f" Did you mean {near!r}?" if near else ""
        raise UnknownNameError(
            f"adapter.online has no method {name!r}.{hint} It has: {', '.join(METHODS)}."
        )
    _begin_anew(METHODS[name], given, protocol)
    known = [field.name for field in fields(METHODS[name]) if field.name != "order"]
    for key in given:
        if key not in known:
            raise ConfigurationError(
                f"adapter.online: {name} has no parameter {key!r}. It has: {', '.join(known)}."
            )
    kinds = get_type_hints(METHODS[name])
    for key, value in given.items():
        if not _is_a(value, kinds[key]):
            said = " or ".join(SAID[one] for one in _ways(kinds[key]))
            raise ConfigurationError(f"adapter.online: {key}={value} of {name} must be {said}.")
    try:
        return METHODS[name](order=order, **plain(given))
    except TypeError as error:
        raise ConfigurationError(
            f"adapter.online: {name} cannot be built: {reason_of(error)}."
        ) from error


SAID: Mapping[Any, str] = MappingProxyType(
    {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "a text",
        type(None): "null",
        tuple: "a list of texts",
    }
)
"""Type of a parameter -> what is asked for."""


def _ways(kind: Any) -> list[Any]:
    """List the types that a parameter may have; of a list of texts `tuple`."""
    if get_origin(kind) is tuple:
        return [tuple]
    return [one for part in get_args(kind) for one in _ways(part)] or [kind]


def _is_a(value: Any, kind: Any) -> bool:
    """Say whether a value has the type of its parameter; what is one of several words, always."""
    if get_origin(kind) is Literal:
        return True
    for one in _ways(kind):
        if one is tuple:
            if _listed(value) and all(isinstance(each, str) for each in value):
                return True
        elif type(value) is one or (one is float and type(value) is int):
            return True
    return False


def _begin_anew(kind: type[Online], given: dict[str, Any], protocol: str | None) -> None:
    """Put the protocol that is asked for among what is given, or refuse it with the reason.

    Raises:
        ConfigurationError: If the method cannot be evaluated so.
    """
    asked = given.get("protocol", protocol)
    if asked is None:
        given.pop("protocol", None)
        return
    if asked not in kind.protocols:
        raise ConfigurationError(
            f"adapter.protocol={asked} is none of {kind.method}, which has: "
            f"{', '.join(kind.protocols)}. Leave it out, or give it to the methods that have it: "
            f"adapter.online=[{{method: tent, protocol: episodic}}]."
        )
    if len(kind.protocols) > 1:
        given["protocol"] = asked
    else:
        given.pop("protocol", None)
