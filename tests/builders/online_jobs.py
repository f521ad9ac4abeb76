"""Jobs of `adapter.online` on phantoms: the model's own row and what adapts it."""

from pathlib import Path
from typing import Any

from grouped import changed
from torch import Tensor, nn
from tuning import experiment

from medrobust.adapters import NoAdapter
from medrobust.datasets import Phantoms
from medrobust.evaluation.experiment import Experiment
from medrobust.evaluation.plan import plan
from medrobust.evaluation.resources import Resources
from medrobust.evaluation.run import CellRunner, read_cells
from medrobust.evaluation.store import Store

RESOURCES = Resources()


def evaluated(folder: Path, *online: Any, orders: Any = (0,), **options: Any) -> Experiment:
    adapter = NoAdapter(online=online, orders=orders)
    few = (Phantoms(name="phantoms_site_b", site="b", per_class=1, limit=12),)
    given = experiment(folder, adapter=NoAdapter(), tuning=None, datasets=few)
    return changed(given, adapter=adapter, **options)


def cells_of(job: Experiment) -> list[Any]:
    plans, store = plan(job, RESOURCES), Store(job.where.store)
    runner = CellRunner(job, RESOURCES, store)
    runner.run(plans)
    runner.complain()
    return read_cells(store, plans)


def named(cells: list[Any]) -> dict[tuple[str, str, int], Any]:
    return {(c.spec.adapter, c.spec.corruption, c.spec.severity): c for c in cells}


class Classifier(nn.Module):
    """Twenty logits of the mean of each color."""

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels[:, 0, ::11, 100][:, :20]
