"""Sections of a report, by headings: how a free text is divided, and what is taken of it."""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from medrobust.exceptions import ConfigurationError, unknown_name

HEADING = re.compile(r"^[ \t]*([A-Z][A-Z0-9 ()/,&-]*[A-Z0-9)])[ \t]*:", re.MULTILINE)
"""A heading: at the beginning of a line, in capitals, ended by a colon."""

NAMES: Mapping[str, str] = MappingProxyType(
    {
        "conclusion": "impression",
        "conclusions": "impression",
        "opinion": "impression",
        "impressions": "impression",
        "finding": "findings",
        "findings and impression": "findings",
        "findings/impression": "findings",
        "clinical information": "indication",
        "clinical history": "indication",
        "history": "indication",
        "reason for exam": "indication",
        "reason for examination": "indication",
        "comparisons": "comparison",
        "exam": "examination",
        "study": "examination",
        "procedure": "technique",
    }
)
"""Heading in small letters -> the section that it begins, where that has another name."""

SECTIONS = ("findings", "impression", "indication", "comparison", "technique", "examination")
"""Sections that can be asked for."""

FINAL = "final report"
"""Heading of the radiologist's own text, where a report begins with notes of others."""


def split_sections(report: str) -> dict[str, str]:
    r"""Divide a report by its headings.

    A section runs from its heading to the next one; where a heading comes twice both texts count,
    in their order. What stands before the first heading is the section "". White space is single.

    Args:
        report: As published, with its line ends.

    Returns:
        Name of the section, as `NAMES` has it -> its text; sections without a text are left out.

    Example:
        >>> split_sections("FINAL REPORT\n FINDINGS:  Clear\n lungs.\n IMPRESSION: Normal.")
        {'': 'FINAL REPORT', 'findings': 'Clear lungs.', 'impression': 'Normal.'}
    """
    found: dict[str, list[str]] = {}
    name, start = "", 0
    for heading in [*HEADING.finditer(report), None]:
        end = len(report) if heading is None else heading.start()
        found.setdefault(name, []).append(tidy(report[start:end]))
        if heading is not None:
            said = tidy(heading[1]).lower()
            name, start = NAMES.get(said, said), heading.end()
    joined = {section: tidy(" ".join(texts)) for section, texts in found.items()}
    return {section: text for section, text in joined.items() if text}


def tidy(text: str) -> str:
    r"""Make white space single.

    Example:
        >>> tidy(" No  acute\n finding. ")
        'No acute finding.'
    """
    return " ".join(text.split())


def check_sections(sections: Sequence[str]) -> None:
    """Refuse sections that cannot be asked for.

    Raises:
        ConfigurationError: If none is asked for.
        UnknownNameError: If there is no such section.
    """
    if not sections:
        raise ConfigurationError("dataset.sections names no section. Name one or several.")
    for name in sections:
        if name not in SECTIONS:
            raise unknown_name("section of a report (dataset.sections)", name, SECTIONS)
