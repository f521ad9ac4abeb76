"""Parts of a configuration become objects; one that cannot be built is one sentence."""

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from medrobust.base.class_arguments import class_arguments
from medrobust.base.near_misses import nearest_key
from medrobust.base.reasons import exported_by, reason_of, words_of
from medrobust.exceptions import ConfigurationError, MedRobustError

if TYPE_CHECKING:
    from hydra.errors import InstantiationException
    from omegaconf import DictConfig, MissingMandatoryValue

OF_HYDRA = ("_target_", "_partial_", "_args_", "_recursive_", "_convert_")
"""Keys beside a `_target_` that are no arguments of it."""

OF_DOMAINS = ("domain", "left_out")
"""Keys of `dataset` that say which of its images are judged, whatever its class."""

INFINITE = "prior"
"""The one key whose number may be infinite, of adapters: elsewhere "inf" is a text, as of a class.
"""


def resolved(config: "DictConfig") -> dict[str, Any]:
    """Return a configuration as plain values, interpolations resolved, infinity as the text "inf".

    Raises:
        ConfigurationError: If a value is missing that must be given, or is no number (nan).
    """
    from omegaconf import MissingMandatoryValue, OmegaConf

    try:
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise _must_be_given(error) from error
    assert isinstance(plain, dict)
    return {str(key): _as_json_has(value, str(key)) for key, value in plain.items()}


def _as_json_has(value: Any, place: str) -> Any:
    """Write infinity as text: JSON, which records and fingerprints are, has no number for it."""
    if isinstance(value, dict):
        return {key: _as_json_has(one, f"{place}.{key}") for key, one in value.items()}
    if isinstance(value, list):
        return [_as_json_has(one, f"{place}[{number}]") for number, one in enumerate(value)]
    if not isinstance(value, float) or math.isfinite(value):
        return value
    if math.isnan(value):
        raise ConfigurationError(
            f"{place} is nan, which is no number: give one; a text is written \"'nan'\"."
        )
    return str(value)


def with_infinity(value: Any) -> Any:
    """Return what `resolved` returned with an infinite prior as a number again.

    Example:
        >>> with_infinity({"prior": "inf", "class_names": ["inf", "nan"]})
        {'prior': inf, 'class_names': ['inf', 'nan']}
    """
    if isinstance(value, Mapping):
        return {
            key: float(one) if key == INFINITE and one == "inf" else with_infinity(one)
            for key, one in value.items()
        }
    return [with_infinity(one) for one in value] if isinstance(value, list) else value


def check_arguments(config: Any, place: str = "") -> None:
    """Refuse keys that classes of this package do not take, without importing the classes.

    Args:
        config: Plain values.
        place: Dotted key of `config`.

    Raises:
        ConfigurationError: Naming the key, and the nearest that is taken.
    """
    if isinstance(config, list):
        for number, item in enumerate(config):
            check_arguments(item, f"{place}[{number}]")
    if not isinstance(config, Mapping):
        return
    target = str(config.get("_target_", ""))
    accepted = [argument.name for argument in class_arguments(target)]
    for key, value in config.items():
        known = (*accepted, *OF_HYDRA, *(OF_DOMAINS if place == "dataset" else ()))
        if accepted and key not in known:
            raise _no_such_key(target, place, str(key))
        check_arguments(value, f"{place}.{key}" if place else str(key))


def built(config: "DictConfig", name: str) -> Any:
    """Instantiate one group of a configuration.

    Raises:
        ConfigurationError: Naming the group and the reason, not Hydra's insides.
        MedRobustError: As the object itself raises it.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate
    from omegaconf import MissingMandatoryValue, OmegaConf

    node = config[name]
    domains: dict[str, Any] = {}
    if name == "dataset":
        node, domains = _without_domains(node)
    try:
        made = instantiate(node, _convert_="all")
        return _with_domains(made, domains) if domains else made
    except MissingMandatoryValue as error:
        raise _must_be_given(error) from error
    except InstantiationException as error:
        cause = error.__cause__ or error
        if isinstance(cause, MedRobustError):
            raise cause from error
        said = words_of(cause)
        unknown = re.search(r"unexpected keyword argument '(\w+)'", said)
        if unknown is not None:
            place = _failed_place(config, error) or name
            target = OmegaConf.select(config, f"{place}._target_", default="")
            raise _no_such_key(str(target), place, unknown[1]) from error
        lacking = re.search(r"missing \d+ required [\w-]+ arguments?: (.+)", said)
        if lacking is not None:
            place = _failed_place(config, error) or name
            keys = re.findall(r"'(\w+)'", lacking[1])
            typed = " ".join(f"+{place}.{key}=VALUE" for key in keys)
            raise ConfigurationError(
                f"{place} lacks {' and '.join(keys)}: write what is missing into its configuration "
                f"file, or add {typed} to the command."
            ) from error
        reason = reason_of(cause).partition(" full_key: ")[0]  # a line that Hydra adds
        raise ConfigurationError(
            f"{name} cannot be built as configured: {reason}.{exported_by(reason)}"
        ) from error


def _without_domains(node: "DictConfig") -> "tuple[DictConfig, dict[str, Any]]":
    """Tell apart what makes a data set and which of its domains is left out."""
    from omegaconf import OmegaConf, open_dict

    asked = {key: node.get(key) for key in OF_DOMAINS}
    bare = node.copy()
    OmegaConf.set_struct(bare, False)
    with open_dict(bare):
        for key in OF_DOMAINS:
            bare.pop(key, None)
    bare._set_parent(node._get_parent())  # interpolations go on being read from there
    return bare, {key: value for key, value in asked.items() if value is not None}


def _with_domains(dataset: Any, asked: Mapping[str, Any]) -> Any:
    from medrobust.datasets.domains import with_left_out

    return with_left_out(dataset, asked.get("domain"), asked.get("left_out"))


def _must_be_given(error: "MissingMandatoryValue") -> ConfigurationError:
    key = error.full_key
    return ConfigurationError(f"{key} must be given: add {key}=VALUE to the command.")


def _failed_place(config: "DictConfig", error: "InstantiationException") -> str | None:
    """Return the key of the part that Hydra could not build, where its sentence names one."""
    from omegaconf import OmegaConf

    found = re.search(r"^full_key: (\S+)$", str(error), re.MULTILINE)
    if found is None:
        return None
    listed = re.sub(r"(\d+)$", r"[\1]", found[1])  # OmegaConf writes sets0 for sets[0]
    return next(
        (key for key in (found[1], listed) if OmegaConf.select(config, key) is not None), None
    )


def _no_such_key(target: str, place: str, key: str) -> ConfigurationError:
    """Say that the class of a place takes no such key, with the nearest that it takes."""
    accepted = [argument.name for argument in class_arguments(target)]
    near = nearest_key(f"{place}.{key}", [f"{place}.{argument}" for argument in accepted])
    hint = f" Did you mean {near!r}?" if near else ""
    return ConfigurationError(f"there is no configuration key '{place}.{key}'.{hint}")
