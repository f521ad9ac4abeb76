"""What audits say of the evaluated data, added to what the store keeps and tables carry."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

from medrobust.base.findings import Finding
from medrobust.datasets.audits.findings import read_findings, read_looked
from medrobust.datasets.audits.repeats import look, look_beside
from medrobust.datasets.cache import cache_of
from medrobust.datasets.image_set import DatasetSource, ImageSet
from medrobust.exceptions import MedRobustError

from .experiment import Data
from .extra_cells import Beside
from .plan import DatasetPlan

Remarks: TypeAlias = tuple[tuple[Finding, ...], tuple[str, ...], tuple[str, ...]]
"""What was found, what was compared, what was not."""

log = logging.getLogger(__name__)

SWITCHED_OFF = "audit=false"


def audited(
    data: Data, plans: Sequence[DatasetPlan], further: Beside
) -> tuple[list[DatasetPlan], Beside]:
    """Look for repeated pictures, once for the same data, and add what was found to the records.

    What cannot be looked at stops no run: the record says so.

    Args:
        data: What the model sees.
        plans: Of the job, one a data set, in its order.
        further: What it runs besides.
    """
    found: dict[str, Remarks]
    if not data.audit:
        found = {plan.record.fingerprint: ((), (), (SWITCHED_OFF,)) for plan in plans}
    else:
        found = _remarks(plans, data.datasets)

    def noted(plan: DatasetPlan) -> DatasetPlan:
        findings, compared, not_compared = found.get(plan.record.fingerprint, ((), (), ()))
        record = replace(
            plan.record,
            findings=tuple(dict.fromkeys((*plan.record.findings, *findings))),
            compared=compared,
            not_compared=not_compared,
        )
        return replace(plan, record=record)

    beside = replace(further, sanity=tuple(map(noted, further.sanity)))
    return list(map(noted, plans)), beside


def _remarks(plans: Sequence[DatasetPlan], sources: Sequence[DatasetSource]) -> dict[str, Remarks]:
    """Return what was found, what was compared and what was not, by data fingerprint."""
    whole: list[tuple[str, DatasetSource, ImageSet]] = []
    found: dict[str, Remarks] = {}
    for plan, source in zip(plans, sources, strict=True):
        try:
            whole.append((plan.record.fingerprint, source, look(source)))
        except MedRobustError as error:
            found[plan.record.fingerprint] = _not_looked(source, error)
    for print_, source, image_set in whole:
        others = [other for _, _, other in whole if other is not image_set]
        try:
            look_beside(image_set, others, cache_of(source))
        except MedRobustError as error:
            found[print_] = _not_looked(source, error)
        else:
            looked = read_looked(image_set, cache_of(source)).values()
            found[print_] = (
                read_findings(image_set, cache_of(source)),
                tuple(name for part in looked for name in part.compared),
                tuple(f"{k}: {why}" for part in looked for k, why in part.left_out.items()),
            )
    return found


def _not_looked(source: DatasetSource, error: MedRobustError) -> Remarks:
    reason = error.for_records.rstrip(".")
    log.warning("%s: its pictures are not looked at for repeats: %s", source.name, reason)
    return (), (), (reason,)
