"""Distances to the own report keep the contract, are cosines by hand, and stand beside answers."""

from pathlib import Path
from types import MappingProxyType, SimpleNamespace

import numpy as np
import pytest
import torch
from contract import TaskContract
from numpy.typing import NDArray
from run_entry import medrobust, rows
from stores import data_record

from medrobust.base.split_facts import SplitFacts
from medrobust.base.targets import Texts
from medrobust.evaluation.store import Store
from medrobust.exceptions import ConfigurationError, NotFiniteError
from medrobust.models import PhantomClip
from medrobust.monitor.stored import Choice, studies_of_store
from medrobust.monitor.tables import Columns
from medrobust.tasks.base import ModelSide
from medrobust.tasks.own_report import TASK
from medrobust.tasks.own_report.task import MEASURE


@pytest.fixture(scope="module")
def side() -> ModelSide:
    model = PhantomClip(name="phantomclip_small", variant="small").load()
    return ModelSide(SimpleNamespace(name="phantomclip_small"), (), lambda: model)


class TestOwnReport(TaskContract):
    task = TASK
    head = MappingProxyType({"kind": "own_report", "measures": [MEASURE], "texts": "x"})

    def facts(self) -> SplitFacts:
        return data_record()

    def arrays(self, data: SplitFacts, skill: float, seed: int) -> dict[str, NDArray]:
        rng = np.random.default_rng(seed)
        far = np.clip(1 - skill + 0.02 * rng.normal(size=(len(data), 1)), 0, 1)
        return {"measures": far}


class Images(SimpleNamespace):
    def __len__(self) -> int:
        return self.count


def images(texts: list[str], pairs: list[list[int]], count: int = 3) -> Images:
    target = Texts(np.array(texts), np.array(pairs, np.int64).reshape(-1, 2))
    return Images(name="toy", target=target, count=count)


def test_a_distance_is_half_of_one_minus_the_cosine_and_of_several_texts_their_mean(
    side: ModelSide,
) -> None:
    data = images(["blood cell", "a retina", "no mass"], [[0, 1], [1, 0], [1, 2], [2, 0]])
    (described,) = TASK.heads(data, side)
    with torch.no_grad():
        words = side.model().encode_text(data.target.values.tolist())
    features = torch.stack([words[1], words[0], -words[0]])
    found = TASK.head(side, described, data).outputs(features)["measures"][:, 0]
    between = (1 - float(words[0] @ words[2])) / 4
    np.testing.assert_allclose(found, [0, between, 1], rtol=0, atol=1e-6)


def test_what_cannot_be_compared_is_refused(side: ModelSide) -> None:
    for data, told in (
        (SimpleNamespace(name="toy", target=None), "needs a text of each image"),
        (images(["a", " "], [[0, 0], [1, 0], [2, 1]]), "1 of 2 texts .* is empty"),
        (images(["a"], [[0, 0], [2, 0]]), "1 of 3 images .* has no text"),
    ):
        with pytest.raises(ConfigurationError, match=told):
            TASK.heads(data, side)
    data = images(["a"], [[0, 0], [1, 0], [2, 0]])
    blind = ModelSide(SimpleNamespace(name="tower"), (), lambda: torch.nn.Identity())
    with pytest.raises(ConfigurationError, match="'tower' has no text side"):
        TASK.heads(data, blind)
    head = TASK.head(side, {}, data)
    with pytest.raises(NotFiniteError, match="features of 3 of 3 images"):
        head.outputs(torch.full((3, 64), float("nan")))


@pytest.mark.slow
def test_distances_are_measures_beside_answers_and_a_stream_of_the_monitor(workplace: Path) -> None:
    asked = (
        *("model=phantomclip_small", "dataset.per_class=9", "corruption=gaussian_noise"),
        *("severity=5", "validation=false", "audit=false", "store.dir=store"),
    )
    assert medrobust(*asked, "hydra.run.dir=one") == 0
    assert medrobust(*asked, "hydra.run.dir=two", "task=own_report") == 0
    assert medrobust(*asked, "hydra.run.dir=three", "task=quality_prompts") == 0
    assert medrobust("report", "store", "--out", "both", "readings=quality") == 0
    assert {row["measure"] for row in rows("both/quality.csv")} > {MEASURE, "prompted_blur"}
    judged = [row for row in rows("both/quality.csv") if row["measure"] == MEASURE]
    assert len(judged) == 3  # both conditions, and both together
    assert float(judged[0]["failure_auroc"]) > 0.5
    choice, columns = Choice(per_day=10), Columns()
    studies = studies_of_store(Path("store"), choice, columns)[0]
    own = next(
        c for c in Store(Path("store")).cells() if c.task == "own_report" and not c.spec.severity
    )
    by_id = dict(zip(own.data.ids.tolist(), own.arrays["measures"][:, 0].tolist(), strict=True))
    assert studies.numbers[MEASURE].tolist() == [by_id[one] for one in studies.ids.tolist()]
