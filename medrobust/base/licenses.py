"""Which licenses of weights and data are known to allow commercial use."""

from typing import Literal

from medrobust.exceptions import ConfigurationError

GRANTED = ", state the one you were granted as {}.license=..."
"""How a sentence goes on where a license can be stated."""

ADMITTED = frozenset(
    {
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "CC BY 4.0",
        "CC BY-SA 4.0",
        "CC0 1.0",
        "MIT",
        "own",
    }
)
"""Names as conf/ and the facts of the data sets write them; "own" is data of the user's.

A license that is stated for the code alone, or terms that a publisher wrote, are not among them.
"""


def commercial_use(license_: str) -> Literal["allowed", "forbidden", "unknown"]:
    """Say what a license tells of commercial use.

    Example:
        >>> [commercial_use(name) for name in ("CC BY 4.0", "CC BY-NC 4.0", "MIT (code)")]
        ['allowed', 'forbidden', 'unknown']
    """
    if license_ in ADMITTED:
        return "allowed"
    return "forbidden" if "NC" in license_.replace("-", " ").split() else "unknown"


def check_commercial(what: str, license_: str, key: str) -> None:
    """Refuse what is not known to allow commercial use.

    Args:
        what: Model or data, as the sentence names it.
        license_: As published or stated.
        key: How the user states a license that was granted, as the sentence ends.

    Raises:
        ConfigurationError: Naming it, its license, and what to do.
    """
    verdict = commercial_use(license_)
    if verdict == "allowed":
        return
    reason = "forbids commercial use" if verdict == "forbidden" else "is not known to allow"
    reason += "" if verdict == "forbidden" else " commercial use"
    raise ConfigurationError(
        f"license=commercial: {what} has the license {license_ or 'unknown'!r}, which {reason}. "
        f"Choose another{key}, or take license=commercial off."
    )


def described(license_: str) -> str:
    """Name a license with what it tells of commercial use, for a table.

    Example:
        >>> described("CC BY-NC 4.0"), described("")
        ('CC BY-NC 4.0 (commercial use: forbidden)', 'unknown license (commercial use: unknown)')
    """
    return f"{license_ or 'unknown license'} (commercial use: {commercial_use(license_)})"
