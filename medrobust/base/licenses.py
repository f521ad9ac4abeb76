"""Which licenses of weights and data are known to allow commercial use."""

from typing import Literal

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


def described(license_: str) -> str:
    """Name a license with what it tells of commercial use, for a table.

    Example:
        >>> described("CC BY-NC 4.0"), described("")
        ('CC BY-NC 4.0 (commercial use: forbidden)', 'unknown license (commercial use: unknown)')
    """
    return f"{license_ or 'unknown license'} (commercial use: {commercial_use(license_)})"
