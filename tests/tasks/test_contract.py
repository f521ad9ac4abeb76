"""Classification keeps the contract, and so does a task that only this file knows."""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from contract import TaskContract
from numpy.typing import NDArray
from stores import data_record

from medrobust.base.fingerprints import fingerprint
from medrobust.base.split_facts import SplitFacts
from medrobust.base.targets import Texts
from medrobust.metrics import Estimate, Metric
from medrobust.metrics.aggregates import error_interval
from medrobust.tasks.base import (
    ArraySpec,
    Cell,
    Head,
    HeadDescription,
    ModelSide,
    Scores,
    Task,
    Terms,
)
from medrobust.tasks.classification import TASK as CLASSIFICATION

IMAGES, TEXTS = 24, 36


class TestClassification(TaskContract):
    task = CLASSIFICATION
    head = MappingProxyType(
        {"kind": "zero_shot", "name": "plain", "texts": [["a"]], "absent": None}
    )

    def facts(self) -> SplitFacts:
        return data_record()

    def arrays(self, data: SplitFacts, skill: float, seed: int) -> dict[str, NDArray]:
        noise = np.random.default_rng(seed).normal(size=(len(data), 3))
        return {"logits": (noise + 3 * skill * np.eye(3)[data.labels]).astype(np.float32)}


class Finding(Task):
    """Find the image of each text: the rank of the right one, 0 if it is the first."""

    kind = "finding"
    level = "text"
    arrays = MappingProxyType({"rank": ArraySpec("int32", ("text",))})
    metrics = MappingProxyType({"missed": Metric("texts whose image is not first", False)})
    losses = ("missed",)
    offered = ("missed",)

    def heads(self, data: Any, side: ModelSide) -> Sequence[HeadDescription]:
        return [{"kind": self.kind}]

    def head(self, side: ModelSide, description: HeadDescription, data: Any) -> Head:
        raise NotImplementedError

    def scores(self, cell: Cell, fitted: Any = None) -> Scores:
        missed = Terms(cell.arrays["rank"] > 0, unit="text")
        bounds = error_interval(missed.values.astype(float), None, None)
        return Scores({"missed": Estimate(missed.value, *bounds)}, {"missed": missed})


class TestATaskOfATest(TaskContract):
    task = Finding()
    head = MappingProxyType({"kind": "finding"})

    def facts(self) -> SplitFacts:
        pairs = np.array([(text % IMAGES, text) for text in range(TEXTS)], np.int64)
        return SplitFacts(
            name="toy",
            split="test",
            fingerprint=fingerprint(["finding", IMAGES, TEXTS]),
            ids=np.array([f"image {row}" for row in range(IMAGES)]),
            target=Texts(np.array([f"text {row}" for row in range(TEXTS)]), pairs),
            origin="public",
        )

    def arrays(self, data: SplitFacts, skill: float, seed: int) -> dict[str, NDArray]:
        right = np.random.default_rng(seed).random(TEXTS) < skill
        return {"rank": np.where(right, 0, 1 + np.arange(TEXTS) % 5).astype(np.int32)}
