"""Retrieval keeps the contract, and its ranks are those that are counted by hand."""

from dataclasses import replace
from itertools import product
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import torch
from contract import TaskContract
from datasets import write_folder
from numpy.typing import NDArray
from run_entry import medrobust, rows
from stores import CONFIG, SEVEN, VERSIONS, cell_key

from medrobust.base.fingerprints import fingerprint
from medrobust.base.split_facts import SplitFacts
from medrobust.base.targets import Texts
from medrobust.corruptions import TextCorruption
from medrobust.datasets import MedMNIST
from medrobust.datasets.image_set import judged_by
from medrobust.evaluation.cells import head_fingerprint
from medrobust.evaluation.store import Store
from medrobust.exceptions import ConfigurationError, NotFiniteError
from medrobust.metrics.intervals import share_interval
from medrobust.models.base import VisionLanguageModel
from medrobust.reporting.from_store import report_store
from medrobust.tasks.base import Cell, ModelSide
from medrobust.tasks.retrieval import TASK, Retrieval, head
from medrobust.tasks.retrieval.ranks import Found, found_both_ways, found_by_labels
from medrobust.tasks.retrieval.relevance import Rule, relevance
from medrobust.tasks.retrieval.sections import _joined_note, relative_drop

IMAGES = 40
GENERATOR = np.random.default_rng


def unit(values: NDArray) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.from_numpy(values.astype(np.float32)), dim=1)


def facts(count: int = IMAGES, texts: list[str] | None = None) -> SplitFacts:
    values = texts or [f"report {row}" for row in range(count)]
    pairs = np.stack([np.arange(count), np.arange(count) % len(values)], axis=1).astype(np.int64)
    return SplitFacts(
        name="toy",
        split="test",
        fingerprint=fingerprint(["retrieval", count, values]),
        ids=np.array([f"image {row}" for row in range(count)]),
        target=Texts(np.array(values), pairs),
        origin="public",
    )


def arrays(found: tuple[Found, Found]) -> dict[str, NDArray]:
    return {
        f"{asks}_{name}": getattr(one, name)
        for asks, one in zip(("image", "text"), found, strict=True)
        for name in Found.__slots__
    }


def cell_of(images: torch.Tensor, texts: torch.Tensor, data: SplitFacts) -> Cell:
    found = found_both_ways(images, texts, data.target.pairs)
    head = {"kind": "retrieval", "relevance": "pair", "candidates": len(texts)}
    return Cell("0" * 64, arrays(found), head, data)


class TestRetrieval(TaskContract):
    task = TASK
    head = MappingProxyType(
        {"kind": "retrieval", "relevance": "pair", "candidates": IMAGES, "texts": "0"}
    )

    def facts(self) -> SplitFacts:
        return facts()

    def arrays(self, data: SplitFacts, skill: float, seed: int) -> dict[str, NDArray]:
        draw = GENERATOR(seed)
        images = draw.normal(size=(IMAGES, 8))
        texts = 2 * skill * images + draw.normal(size=(IMAGES, 8))
        return arrays(found_both_ways(unit(images), unit(texts), data.target.pairs))


def by_hand(cosines: NDArray, right: NDArray) -> tuple[int, float]:
    """Rank pessimistically, by the definition: wrong answers that are as good stand before."""
    order = sorted(range(len(cosines)), key=lambda one: (-round(cosines[one], 5), right[one]))
    places = [place for place, one in enumerate(order, start=1) if right[one]]
    return places[0], float(np.mean([(n + 1) / place for n, place in enumerate(places)]))


@pytest.mark.parametrize("several", [False, True])
def test_ranks_and_precision_are_those_of_the_definition(several: bool) -> None:
    draw = GENERATOR(4)
    images, texts = unit(draw.normal(size=(30, 4))), unit(draw.normal(size=(30, 4)))
    images[7] = images[8]
    texts[3] = texts[4]
    belongs = np.eye(30, dtype=bool)[draw.permutation(30)]
    if several:
        belongs |= draw.random((30, 30)) < 0.1
    pairs = np.argwhere(belongs).astype(np.int64)
    cosines = (images.double() @ texts.double().T).numpy()
    both = found_both_ways(images, texts, pairs)
    for found, table, right in zip(both, (cosines, cosines.T), (belongs, belongs.T), strict=True):
        hand = [by_hand(*line) for line in zip(table, right, strict=True)]
        assert found.rank.tolist() == [rank for rank, _ in hand]
        assert found.average_precision == pytest.approx([each for _, each in hand], rel=1e-6)


def test_torchmetrics_counts_the_same_where_nothing_is_tied() -> None:
    from torchmetrics.retrieval import RetrievalHitRate, RetrievalMAP, RetrievalMRR

    draw = GENERATOR(1)
    images, texts = unit(draw.normal(size=(50, 6))), unit(draw.normal(size=(60, 6)))
    belongs = np.zeros((50, 60), bool)
    belongs[np.arange(60) % 50, np.arange(60)] = True
    cell = cell_of(images, texts, _pairs_of(belongs))
    estimates = TASK.scores(cell).estimates
    rows, _ = np.indices(belongs.shape)
    given = (
        (2 + images @ texts.T).flatten(),  # it drops right answers whose score is not above 0
        torch.from_numpy(belongs.flatten()),
        torch.from_numpy(rows.flatten()),
    )
    for name, metric in (
        ("recall_at_5", RetrievalHitRate(top_k=5)),
        ("mean_reciprocal_rank", RetrievalMRR()),
        ("mean_average_precision", RetrievalMAP()),
    ):
        assert estimates[f"image_to_text_{name}"].value == pytest.approx(float(metric(*given)))


def test_recall_is_that_of_clip_benchmark_where_images_have_several_captions() -> None:
    """LAION-AI/CLIP_benchmark: clip_benchmark/metrics/zeroshot_retrieval.py, any right one of k."""
    draw = GENERATOR(3)
    shown, of_text = draw.normal(size=(40, 6)), draw.permutation(np.arange(90) % 40)
    images, texts = unit(shown), unit(shown[of_text] + 2 * draw.normal(size=(90, 6)))
    belongs = np.arange(40)[:, None] == of_text
    estimates = TASK.scores(cell_of(images, texts, _pairs_of(belongs))).estimates
    right, scores = torch.from_numpy(belongs), images @ texts.T
    for name, table, pairs in (
        ("image_to_text", scores, right),
        ("text_to_image", scores.T, right.T),
    ):
        for cut in (1, 5, 10):
            first = table.topk(cut, dim=1).indices
            theirs = pairs.gather(1, first).any(1).double().mean()
            found = estimates[f"{name}_recall_at_{cut}"].value
            assert found == pytest.approx(float(theirs), abs=1e-12)
            assert 0 < found < 1


def _pairs_of(belongs: NDArray) -> SplitFacts:
    pairs = np.argwhere(belongs).astype(np.int64)
    texts = np.array([f"report {column}" for column in range(belongs.shape[1])])
    data = facts(len(belongs))
    return SplitFacts(
        name="toy",
        split="test",
        fingerprint=data.fingerprint,
        ids=data.ids,
        target=Texts(texts, pairs),
        origin="public",
    )


@pytest.mark.parametrize("seed", range(3))
def test_by_labels_every_text_of_an_image_with_the_same_labels_is_right(seed: int) -> None:
    draw = GENERATOR(seed)
    images, texts = unit(draw.normal(size=(24, 4))), unit(draw.normal(size=(30, 4)))
    labels = draw.integers(0, 4, 24)
    given = np.zeros((24, 30), bool)
    given[np.arange(24), draw.integers(0, 28, 24)] = True
    given[:6, 3] = True  # one text of images with several labels; 28 and 29 are of none
    shown = np.array(
        [[given[labels == label, text].any() for text in range(30)] for label in range(4)]
    )
    right = shown[labels]
    cosines = (images.double() @ texts.double().T).numpy()
    both = found_by_labels(images, texts, np.argwhere(given).astype(np.int64), labels)
    for found, table, belongs in zip(both, (cosines, cosines.T), (right, right.T), strict=True):
        assert found.right.tolist() == belongs.sum(1).tolist()
        asks = belongs.any(1)
        hand = [by_hand(*line) for line in zip(table[asks], belongs[asks], strict=True)]
        assert found.rank[asks].tolist() == [rank for rank, _ in hand]
        assert found.average_precision[asks] == pytest.approx([each for _, each in hand], rel=1e-6)
    assert both[1].rank[28:].tolist() == [0, 0]


def test_precision_by_labels_is_that_of_torchmetrics_and_of_chance_for_random_features() -> None:
    from torchmetrics.retrieval import RetrievalPrecision

    classes, each = 5, 40
    count = classes * each
    draw = GENERATOR(2)
    images, texts = unit(draw.normal(size=(count, 64))), unit(draw.normal(size=(count, 64)))
    labels = np.arange(count) % classes
    found = found_by_labels(images, texts, np.argwhere(np.eye(count)).astype(np.int64), labels)
    head = {"kind": "retrieval", "relevance": "labels", "candidates": count}
    estimates = TASK.scores(Cell("0" * 64, arrays(found), head, facts(count))).estimates
    belongs = labels[:, None] == labels
    rows, _ = np.indices(belongs.shape)
    given = (2 + images @ texts.T).flatten(), torch.from_numpy(belongs.flatten())
    for cut in (5, 10, 100):
        theirs = RetrievalPrecision(top_k=cut)(*given, torch.from_numpy(rows.flatten()))
        assert estimates[f"image_to_text_precision_at_{cut}"].value == pytest.approx(float(theirs))
        assert abs(float(theirs) - 1 / classes) < 0.03
    assert estimates["image_to_text_wrong_at_10"].value == pytest.approx(
        1 - estimates["image_to_text_precision_at_10"].value
    )


def test_a_perfect_model_finds_all_and_a_constant_one_nothing() -> None:
    features = unit(GENERATOR(0).normal(size=(IMAGES, 16)))
    perfect = TASK.scores(cell_of(features, features, facts())).estimates
    assert perfect["image_to_text_recall_at_1"].value == 1
    assert perfect["text_to_image_normalized_rank"].value == 0
    constant = features[:1].repeat(IMAGES, 1)
    cell = cell_of(constant, constant, facts())
    nothing = TASK.scores(cell).estimates
    assert nothing["image_to_text_recall_at_10"].value == 0
    assert nothing["image_to_text_normalized_rank"].value == 1
    assert TASK.collapsed(cell) == "the same cosine with every text"


def _alike_both_ways(ranks: NDArray) -> dict[str, NDArray]:
    single = {
        "rank": ranks.astype(np.int32),
        "average_precision": (1 / ranks).astype(np.float32),
        "hits": np.stack([ranks <= cut for cut in (1, 5, 10, 100)], axis=1).astype(np.int32),
        "right": np.ones(len(ranks), np.int32),
    }
    return {f"{asks}_{name}": one for asks in ("image", "text") for name, one in single.items()}


def test_a_random_order_has_the_harmonic_mean_reciprocal_rank() -> None:
    count = 1000
    draw = GENERATOR(0)
    ranks = (draw.permutation(count) + 1).astype(np.int32)
    both = _alike_both_ways(ranks)
    head = {"kind": "retrieval", "relevance": "pair", "candidates": count}
    cell = Cell("0" * 64, both, head, facts(count))
    found = TASK.scores(cell).estimates
    assert found["image_to_text_mean_reciprocal_rank"].value == pytest.approx(0.0074854709)
    assert found["image_to_text_recall_at_10"].value == pytest.approx(10 / count)
    assert found["image_to_text_median_rank"].value == (count + 1) / 2
    assert found["image_to_text_normalized_rank"].value == pytest.approx(0.5)


MISS = "text_to_image_miss_at_1"


def test_reports_belong_to_patients_wherever_they_are_counted(tmp_path: Path) -> None:
    """One report an image, ranked alike both ways: each number of reports is that of images."""
    draw, count = GENERATOR(3), 60
    data = replace(facts(count), groups=np.array([f"p{row // 5:02}" for row in range(count)]))
    store = Store(tmp_path / "store")
    store.write_data(data)
    for model, (name, level) in product(("m", "n"), (("clean", 0), (SEVEN[0], 3))):
        bad = np.repeat(draw.random(count // 5) < 0.5, 5) & (draw.random(count) < 0.9)
        ranks = np.where(bad, 1 + draw.integers(1, count, count), 1)
        head = {"kind": "retrieval", "relevance": "pair", "candidates": count}
        key = replace(cell_key(data, model, name, level), head=head)
        record = {"config": CONFIG, "versions": VERSIONS, "device": "cpu", "load_report": {}}
        store.write(key, _alike_both_ways(ranks), record)
    report_store(store.root, tmp_path / "out", figures=False, interactive=False, reference="n")
    for table, numbers in (
        ("summary.csv", ("value", "low", "high", "n")),
        ("comparisons.csv", ("difference", "low", "high", "p", "p_familywise", "test")),
    ):
        lines = [line for line in rows(tmp_path / "out" / table) if "_to_" in line["of"]]
        by_side = [
            [[line[name] for name in numbers] for line in lines if line["of"].startswith(side)]
            for side in ("image", "text")
        ]
        assert len(by_side[0]) > 4, table
        assert by_side[0] == by_side[1], table
    known = {r["metric"]: r for r in rows(tmp_path / "out/results.csv") if r["model"] == "m"}
    (found,) = (
        line
        for line in rows(tmp_path / "out/summary.csv")
        if (line["model"], line["of"], line["metric"]) == ("m", MISS, "severity_mean")
    )
    assert [found[end] for end in ("low", "high")] == [known[MISS][end] for end in ("low", "high")]


@pytest.mark.parametrize(
    ("rule", "said", "units"),
    [
        ("text", ["Normal."] * 20, [0] * 20),
        ("normalized", ["Normal.", " NORMAL"] * 10, [0] * 20),
        ("text", ["Normal.", " NORMAL"] * 10, [0, 1] * 10),
        ("pair", ["Normal."] * 20, [*range(20)]),
    ],
)
def test_texts_that_count_as_one_are_one_unit(
    rule: Rule, said: list[str], units: list[int]
) -> None:
    """Reports of thirty studies of a patient each: those that read alike have one answer."""
    draw, data = GENERATOR(4), facts(30, [*said, *(f"report {row}" for row in range(10))])
    judged = relevance(data.target, rule)
    images = draw.normal(size=(30, 4))
    texts = images[np.unique(judged.of_text, return_index=True)[1]]
    noisy = texts + 0.7 * draw.normal(size=texts.shape)
    found = found_both_ways(unit(images), unit(noisy), judged.pairs)
    of_texts = Found(*(getattr(found[1], name)[judged.of_text] for name in Found.__slots__))
    told = {"kind": "retrieval", "relevance": rule, "candidates": len(texts)}
    for patients in (None, np.arange(30)):
        cell = Cell("0" * 64, arrays((found[0], of_texts)), told, data, patients=patients)
        estimate = TASK.scores(cell).estimates["text_to_image_recall_at_1"]
        groups = None if rule == "pair" else np.array([*units, *range(20, 30)])
        wanted = share_interval((of_texts.rank == 1).astype(float), groups)
        assert (estimate.low, estimate.high) == pytest.approx(wanted)


SMALL = (
    *("dataset=phantoms", "dataset.per_class=2", "task=retrieval", "corruption=gaussian_noise"),
    "model.micro_batch=8",
)


def test_the_page_says_where_a_shared_report_makes_patients_one_unit() -> None:
    """Two images of each of ten patients: one with a report of its own, one that is normal."""
    patients = np.repeat(np.arange(10), 2)
    belongs = np.zeros((20, 20), bool)
    belongs[np.arange(20), np.where(np.arange(20) % 2, 1, np.arange(20))] = True
    images = unit(GENERATOR(1).normal(size=(20, 4)))
    for sharing, told in ((10, "make 10 patients, with 11 of 11 reports, one unit"), (2, "")):
        own = belongs.copy()
        own[2 * sharing :] = np.eye(20, dtype=bool)[2 * sharing :]
        data = _pairs_of(own[:, own.any(0)])
        found = replace(cell_of(images, images[own.any(0)], data), patients=patients)
        assert (told in _joined_note(found)) if told else (_joined_note(found) == "")


def test_phantoms_are_matched_with_their_sentences_by_one_command(workplace, capsys) -> None:
    assert medrobust(*SMALL, "severity=5", "hydra.run.dir=out") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "report of an image not among the first 1" in printed
    assert "model=phantomclip_small dataset=phantoms task=retrieval" in printed
    found = {(r["metric"], r["severity"]): r for r in rows("out/results.csv")}
    clean, noisy = (found["image_to_text_miss_at_1", level] for level in "05")
    assert (clean["n"], found["text_to_image_mean_rank", "0"]["n"]) == ("40", "60")
    assert float(clean["value"]) < float(noisy["value"])


LONG = "A rib is broken." + " No other fracture is seen." * 12
REPORTS = ("No acute finding of the heart.", "Large effusion at the left base.", LONG)


def test_reports_of_own_data_are_matched_and_never_stored(workplace, capsys) -> None:
    table = write_folder(Path("own"), classes=REPORTS)
    own = ("dataset=folder", f"dataset.csv={table}", "dataset.text_column=label", "task=retrieval")
    run = ("model=phantomclip_small", "corruption=gaussian_noise", "severity=5")
    assert medrobust(*own, *run, "hydra.run.dir=out") == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "1 of 3 texts is longer than the model's 32 tokens: it read its beginning alone" in said
    page = Path("out/report.html").read_text("utf-8")
    assert "1 of 3 texts is longer than the 32 tokens that the model reads: cut there" in page
    assert "images have a report that reads as that of another image" in page
    found = {(r["metric"], r["severity"]): r for r in rows("out/results.csv")}
    assert found["text_to_image_mean_rank", "0"]["n"] == "3"
    kept = [path for root in ("outputs", "out") for path in Path(root).rglob("*") if path.is_file()]
    assert any(path.name == "texts.npy" for path in kept)
    for path in kept:
        for encoding in ("utf-8", "utf-32-le"):
            assert REPORTS[1].encode(encoding) not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("dataset.text_column=note",), "has no column 'note'"),
        (("task.relevance=meaning",), "There are: pair, text, normalized, labels"),
        (("task.relevance=pair",), "took reports that read the same for one: name the column"),
    ],
)
def test_what_cannot_be_matched_is_said_in_a_sentence(given, told, workplace, capsys) -> None:
    table = write_folder(Path("own"), classes=REPORTS)
    own = ("dataset=folder", f"dataset.csv={table}", "dataset.text_column=label", "task=retrieval")
    assert medrobust(*own, *given, "model=phantomclip_small", "severity=5") != 0
    assert told in capsys.readouterr().err


def test_reports_are_matched_by_the_labels_of_their_images(workplace, capsys) -> None:
    table = write_folder(Path("own"))
    lines = table.read_text().splitlines()
    noted = [f"{line},report {row % 5}" for row, line in enumerate(lines[1:])]
    table.write_text("\n".join([f"{lines[0]},report", *noted]) + "\n")
    own = ("dataset=folder", f"dataset.csv={table}", "task=retrieval", "task.relevance=labels")
    assert medrobust(*own, "model=phantomclip_small", "corruption=clean", "hydra.run.dir=out") == 0
    found = {r["metric"]: float(r["value"]) for r in rows("out/results.csv")}
    right = found["image_to_text_precision_at_10"]
    assert found["image_to_text_wrong_at_10"] == pytest.approx(1 - right)


RECALL = "image_to_text_recall_at_1"


@pytest.mark.slow
def test_recall_relative_to_clean_images_is_a_table_with_intervals(workplace) -> None:
    assert medrobust(*SMALL, "model=phantomclip_small", "severity=5", "hydra.run.dir=out") == 0
    recall = {
        r["severity"]: float(r["value"]) for r in rows("out/results.csv") if r["metric"] == RECALL
    }
    drop = 1 - recall["5"] / recall["0"]
    assert f">{100 * drop:.1f} (" in _relative_recall()
    (row,) = (
        r
        for r in rows("out/relative_recall.csv")
        if (r["side"], r["at"], r["severity"]) == ("image_to_text", "1", "5")
    )
    assert float(row["relative_drop"]) == pytest.approx(drop)
    assert float(row["low"]) <= drop <= float(row["high"])
    assert (row["dataset"], row["split"], row["against"]) == ("phantoms", "test", "clean images")


def _relative_recall() -> str:
    page = Path("out/report.html").read_text("utf-8")
    return page[page.index("Recall relative to clean images") :]


def test_where_nothing_was_found_there_is_no_relative_drop() -> None:
    assert relative_drop(np.zeros(5), np.zeros(5)).value is None


def unseen(units: int) -> float:
    """Wilson's upper bound of none of so many."""
    return 3.841458820694124 / (units + 3.841458820694124)


@pytest.mark.parametrize(
    ("before", "after", "groups", "drop", "low", "high"),
    [
        ([1, 0, 1, 1], [1, 0, 1, 1], None, 0, -unseen(4) / 0.75, unseen(4) / 0.75),
        ([1, 0, 1, 1], [0, 0, 0, 0], None, 1, 1 - unseen(4) / 0.75, 1),
        ([1, 1, 1, 1], [0.5] * 4, None, 0.5, 0.5 - unseen(4), 0.5 + unseen(4)),
        ([1, 1, 1, 1], [1, 0, 0, 1], [0] * 4, 0.5, 0.5 - unseen(1), 1),
        ([1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 1, 1], 0, -unseen(2), unseen(2)),
    ],
)
def test_a_drop_that_no_query_moves_is_bounded_by_what_none_has_seen(
    before, after, groups, drop, low, high
) -> None:
    found = relative_drop(
        np.array(before, float), np.array(after, float), groups and np.array(groups)
    )
    assert (found.value, found.low, found.high) == pytest.approx((drop, low, high))


def test_ranks_that_are_all_alike_have_an_interval() -> None:
    features = unit(GENERATOR(0).normal(size=(IMAGES, 16)))
    rank = TASK.scores(cell_of(features, features, facts())).estimates["image_to_text_mean_rank"]
    assert (rank.value, rank.low) == (1, 1)
    assert rank.high == pytest.approx(1 + (IMAGES - 1) * unseen(IMAGES))
    alone = replace(cell_of(features, features.flip(0), facts()), patients=np.zeros(IMAGES, int))
    rank = TASK.scores(alone).estimates["image_to_text_mean_rank"]
    assert rank.low == 1
    assert rank.high == pytest.approx(min(IMAGES, rank.value + (IMAGES - 1) * unseen(1)))


def test_corrupted_texts_are_rows_beside_those_as_given_from_one_encoding(
    workplace, capsys
) -> None:
    run = (*SMALL[:3], SMALL[-1], "corruption=clean", "model=phantomclip_small")
    run += ("hydra.run.dir=out",)
    assert medrobust(*run, "prompts=bare") == 0
    said = capsys.readouterr().err
    assert "task=retrieval reads no prompts: prompts=bare is not used" in said
    (plain,) = {r["cell"] for r in rows("out/results.csv")}
    assert "label" not in rows("out/results.csv")[0]
    levels = "task.text_corruption.severities=[1,5]"
    assert medrobust(*run, "text_corruption=dropped_words", levels) == 0
    assert "prompts" not in capsys.readouterr().err
    found = [r for r in rows("out/results.csv") if r["metric"] == "image_to_text_miss_at_1"]
    assert plain in {r["cell"] for r in found}
    assert len({r["cell"] for r in found}) == 3
    labels = {r["cell"]: r["label"] for r in found}  # whatever was in the store before
    assert labels[plain] == "phantomclip_small [texts as given]"
    assert [*labels.values()][1:] == [f"phantomclip_small [dropped_words {s}]" for s in (1, 5)]
    assert set(labels.values()) == {r["label"] for r in rows("out/summary.csv") if r["split"]}
    worst = max(found, key=lambda r: float(r["value"]))
    assert worst["cell"] != plain
    recalls = [r for r in rows("out/results.csv") if r["metric"] == RECALL]
    recall = {r["cell"]: float(r["value"]) for r in recalls}
    shown = _relative_recall()
    assert "texts as given</td>" in shown
    assert f">{100 * (1 - min(recall.values()) / recall[plain]):.1f} (" in shown


@pytest.mark.parametrize(("of", "told"), [(0, "images"), (1, "texts")])
def test_features_that_are_no_numbers_are_refused(of: int, told: str, monkeypatch) -> None:
    both = [unit(np.eye(3)), unit(np.eye(3))]
    monkeypatch.setattr(head, "text_features", lambda *_: both[1])
    ranks = head.RankHead(None, facts(3), "text")
    assert ranks.outputs(both[0])["image_rank"].tolist() == [1, 1, 1]
    both[of][2, 0] = float("nan")
    with pytest.raises(NotFiniteError, match=f"features of 1 of 3 {told} are not finite"):
        ranks.outputs(both[0])


def test_heads_name_the_corruption_of_texts_only_where_there_is_one(caplog) -> None:
    class Reads(VisionLanguageModel):
        _image_embedding = _text_embedding = NotImplemented

    side = ModelSide(None, (), lambda: Reads.__new__(Reads))
    plain = Retrieval().heads(facts(), side)
    several = Retrieval(text_corruption=TextCorruption("typos", (2, 3))).heads(facts(), side)
    assert "text_corruption" not in plain[0]
    assert not caplog.records
    assert head_fingerprint(plain[0]) == head_fingerprint(several[0])
    assert head_fingerprint({**plain[0], "cut_texts": {"number": 3}}) == head_fingerprint(plain[0])
    assert [head["name"] for head in several] == ["texts as given", "typos 2", "typos 3"]
    assert len({head_fingerprint(head) for head in several}) == 3


def test_rows_without_a_report_are_refused_by_line_or_dropped(workplace, capsys) -> None:
    table = write_folder(Path("own"), classes=(*REPORTS, ""))
    own = ("dataset=folder", f"dataset.csv={table}", "dataset.text_column=label", "task=retrieval")
    run = ("model=phantomclip_small", "corruption=clean", "hydra.run.dir=out")
    assert medrobust(*own, *run) != 0
    assert "no report in lines 5, 9, 13" in capsys.readouterr().err
    assert medrobust(*own, *run, "dataset.unlabelled=drop") == 0
    found = {r["metric"]: r["n"] for r in rows("out/results.csv")}
    assert found["image_to_text_mean_rank"] == "6"


def test_a_data_set_without_reports_is_refused_in_a_sentence() -> None:
    with pytest.raises(ConfigurationError, match="data set 'bloodmnist' has no texts"):
        judged_by(MedMNIST("bloodmnist"), "texts")
    said = "1 of 3 texts of data set 'toy' is empty, and no image can be told by an empty text"
    with pytest.raises(ConfigurationError, match=said):
        TASK.heads(facts(3, ["clear", " ", "edema"]), None)
