"""Which readings there are: every file beside this one that has a function `section`."""

from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from medrobust.tasks.base import Section, in_order

if TYPE_CHECKING:
    from medrobust.reporting import Report


class Reading(Protocol):
    """What a file of this folder gives."""

    def section(self, report: "Report") -> Section | None:
        """Return what the reading says of a report, or None where it has nothing to say."""
        ...


def sections(report: "Report") -> tuple[Section, ...]:
    """Return what all readings say of a report, in the order of the page."""
    found = (reading.section(report) for reading in _readings())
    return tuple(in_order(section for section in found if section is not None))


@cache
def _readings() -> tuple[Reading, ...]:
    names = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))
    modules = (import_module(f"{__package__}.{name}") for name in names if name != "lookup")
    return tuple(cast("Reading", module) for module in modules if hasattr(module, "section"))
