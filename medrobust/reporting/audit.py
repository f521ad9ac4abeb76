"""What is known to be wrong with the evaluated data, from what the store keeps of them."""

from typing import TYPE_CHECKING

import numpy as np

from medrobust.base.findings import TOPICS
from medrobust.base.split_facts import SplitFacts
from medrobust.base.wording import counted

from .markup import plain_table

if TYPE_CHECKING:
    from .report import Report

CLASSES = "classes without an image"
UNITS = "patients"
NOT_LOOKED = "not looked for"
ORDER_NOT_CHECKED = "not checked: of own data no shares are known"


def audit_section(report: "Report") -> str:
    """Write one line a data set and topic; a topic without a finding says what that means."""
    of_images = [m.data for m in report.matrices if m.data.unit == "image"]
    data = {one.fingerprint: one for one in of_images}.values()
    if not data:
        return ""
    rows = [
        ("" if place else f"{record.name}/{record.split}", topic, verdict)
        for record in data
        for place, (topic, verdict) in enumerate(findings(record).items())
    ]
    return (
        '\n<section aria-labelledby="audit"><h2 id="audit">Audit of the data</h2>'
        '<p class="soft small">What was found when the data were opened, and by looking for '
        "repeated pictures, once for the same data. "
        "<code>medrobust audit NAME</code> also looks at what a run leaves out; its "
        "findings stand here from the next run on.</p>"
        f"{plain_table(('data set', 'asked', 'found'), rows)}</section>"
    )


def findings(data: SplitFacts) -> dict[str, str]:
    """Say what the store keeps of a split: topic -> sentence.

    Args:
        data: Its `findings` are those of the checks at opening and of the last audit, which has
            looked at `compared`.
    """
    of_topic: dict[str, list[str]] = {}
    for finding in data.findings:
        of_topic.setdefault(finding.topic, []).append(str(finding))
    found = {
        "label order": ORDER_NOT_CHECKED
        if data.origin == "own"
        else "no doubt: the counts fit the set's own order, as far as shares are known",
        "repeated images": f"none within or between {_looked_at(data)}",
        "patients in two splits": f"none in {_looked_at(data)}",
    }
    if not data.compared:
        found |= dict.fromkeys(("repeated images", "patients in two splits"), NOT_LOOKED)
    if data.groups is None:
        found["patients in two splits"] = "the set names no patients"
    found |= {topic: "; ".join(of_topic[topic]) for topic in found if topic in of_topic}
    if data.not_compared:
        found["repeated images"] += f". Not looked at: {'; '.join(data.not_compared)}"
    counts = data.class_counts or [1] * len(data.class_names)  # of pixels nobody has counted them
    absent = [name for name, count in zip(data.class_names, counts, strict=True) if count == 0]
    found[CLASSES] = f"{', '.join(absent)}: left out of means" if absent else "none"
    if data.groups is not None:
        sizes = np.unique(data.groups, return_counts=True)[1]
        low, high = int(sizes.min()), int(sizes.max())
        each = counted(high, "image") if low == high else f"{low} to {counted(high, 'image')}"
        found[UNITS] = f"{len(sizes)}, with {each} each"
    else:
        found[UNITS] = "not named: intervals take every image for an independent one"
    for topic in TOPICS:
        if topic in of_topic and topic not in found:
            found[topic] = "; ".join(of_topic[topic])
    return found


def _looked_at(data: SplitFacts) -> str:
    return ", ".join(data.compared)
