"""Which readings there are: every file beside this one that has a function `section`.

An installed package of somebody else brings one by an entry point that names such a module:

    [project.entry-points."medrobust.readings"]
    hard_images = "their_package.hard_images"
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from medrobust.base.given import check_kinds
from medrobust.base.reasons import reason_of
from medrobust.exceptions import ConfigurationError, unknown_name
from medrobust.tasks.base import Section

if TYPE_CHECKING:
    from medrobust.reporting import Report


GROUP = "medrobust.readings"
"""Of the entry points."""


class Reading(Protocol):
    """What a file of this folder gives, or a module of another package.

    One that speaks only where it is asked for also has `SETTINGS`, the class of what may be asked;
    it finds its own under its name in `Report.readings`.
    """

    def section(self, report: "Report") -> Section | None:
        """Return what the reading says of a report, or None where it has nothing to say."""
        ...


def said(report: "Report") -> dict[str, Section]:
    """Return what readings say of a report: name -> section, without those that say nothing."""
    found = {_name(reading): reading.section(report) for reading in _readings()}
    return {name: section for name, section in found.items() if section is not None}


def asked(chosen: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Make the settings of readings that were asked for.

    Args:
        chosen: Name of a reading -> its keys, as `conf/readings` has them.

    Raises:
        UnknownNameError: If there is no such reading.
        ConfigurationError: If it takes no such key, or no such value.
    """
    found = {}
    check_values(chosen)
    offered = _offered()
    for name, values in chosen.items():
        if name not in offered:
            raise unknown_name("reading", name, sorted(offered))
        given = {key: value for key, value in values.items() if key != "_target_"}
        try:
            found[name] = offered[name].SETTINGS(**given)
        except TypeError as error:
            raise ConfigurationError(f"readings.{name}: {error}.") from error
    return found


def check_values(chosen: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse values of another kind than readings take, by their keys.

    Args:
        chosen: As `asked` takes it.

    Raises:
        ConfigurationError: Naming key and value.
    """
    offered = _offered()
    for name, values in chosen.items():
        if name in offered and isinstance(values, Mapping):
            check_kinds(f"readings.{name}", offered[name].SETTINGS, values)


def _offered() -> dict[str, Any]:
    """Return the readings that speak only where they are asked for, by name."""
    modules: list[Any] = [module for module in _readings() if hasattr(module, "SETTINGS")]
    return {_name(module): module for module in modules}


def _name(module: Any) -> str:
    return str(module.__name__).rpartition(".")[2]


def words(chosen: Mapping[str, Any]) -> list[str]:
    """Write what is typed for readings, in a run or after `medrobust report`.

    Args:
        chosen: As `asked` returns it.
    """
    if not chosen:
        return []
    found = [f"readings={','.join(chosen)}"]
    for name, settings in chosen.items():
        values = ((each.name, getattr(settings, each.name)) for each in fields(settings))
        usual = type(settings)()
        found += [f"readings.{name}.{k}={v}" for k, v in values if v != getattr(usual, k)]
    return found


@cache
def _readings() -> tuple[Reading, ...]:
    names = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))
    modules = (import_module(f"{__package__}.{name}") for name in names if name != "lookup")
    own = [module for module in modules if hasattr(module, "section")]
    return tuple(cast("Reading", module) for module in (*own, *_of_others(set(map(_name, own)))))


def _of_others(taken: set[str]) -> Iterator[Any]:
    """Import the readings that installed packages name, in the order of their names.

    Raises:
        ConfigurationError: If one cannot be imported, is no reading, or has the name of another.
    """
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            module = entry.load()
        except (ImportError, AttributeError) as error:
            raise ConfigurationError(
                f"the reading {entry.name!r} of an installed package cannot be imported, from "
                f"{entry.value}: {reason_of(error)}. Mend that package or uninstall it."
            ) from error
        if not hasattr(module, "section") or _name(module) != entry.name or entry.name in taken:
            raise ConfigurationError(
                f"the entry point {entry.name!r} = {entry.value!r} in {GROUP!r} must name a module "
                f"that has a function `section`, {entry.name!r} as its last name, and the name of "
                f"no other reading."
            )
        taken.add(entry.name)
        yield module
