"""Reports by retrieval keep the contract, and are answers that are worked out by hand."""

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import torch
from contract import TaskContract
from datasets import write_folder
from numpy.typing import NDArray
from run_entry import medrobust, rows

from medrobust.base.fingerprints import fingerprint
from medrobust.base.split_facts import SplitFacts
from medrobust.base.targets import Texts
from medrobust.corruptions import TextCorruption
from medrobust.datasets import Folder, Phantoms
from medrobust.exceptions import ConfigurationError, UnknownNameError
from medrobust.tasks.base import Cell
from medrobust.tasks.report_by_retrieval import TASK, ReportByRetrieval
from medrobust.tasks.report_by_retrieval.corpus import Corpus, corpus_of, findings_of, merged
from medrobust.tasks.report_by_retrieval.head import Constant, Judge, nearest

IMAGES = 40
WORDS = ("heart", "lung", "clear", "mass", "left", "right", "small", "large", "edema", "normal")


def reports(count: int, seed: int) -> list[str]:
    draw = np.random.default_rng(seed)
    return [" ".join(draw.choice(WORDS, 6)) for _ in range(count)]


def facts(texts: list[str] | None = None, labels: list[tuple[str, ...]] | None = None):
    values = texts or reports(IMAGES, 1)
    pairs = np.stack([np.arange(len(values))] * 2, axis=1)
    number = None if labels is None else np.arange(len(values))
    return SplitFacts(
        name="toy",
        split="test",
        fingerprint=fingerprint(["report_by_retrieval", values]),
        ids=np.array([f"image {row}" for row in range(len(values))]),
        target=Texts(
            np.array(values),
            pairs,
            labels=number,
            label_sets=None if labels is None else tuple(labels),
        ),
        origin="public",
    )


class TestReportByRetrieval(TaskContract):
    task = TASK
    head = MappingProxyType(
        {"kind": "report_by_retrieval", "corpus": "0", "texts": "0", "answer": "report"}
    )

    def facts(self) -> SplitFacts:
        return facts()

    def arrays(self, data: SplitFacts, skill: float, seed: int) -> dict[str, NDArray]:
        corpus = merged((text, 1) for text in (*data.target.values.tolist(), *reports(60, 2)))
        draw = np.random.default_rng(seed)
        own = np.arange(IMAGES)
        other = draw.integers(0, len(corpus.texts), IMAGES)
        answers = np.where(draw.random(IMAGES) < skill, own, other)[:, None]
        return dict(Judge(data, corpus).arrays(answers))


def measured(data: SplitFacts, corpus: Corpus, answers: list[int], **given: bool) -> dict:
    shown = findings_of(data.target) if given.get("labels") else None
    arrays = Judge(data, corpus, shown).arrays(np.array(answers)[:, None])
    cell = Cell("0" * 64, arrays, {"kind": TASK.kind, "answer": "report"}, data)
    return {name: one.value for name, one in TASK.scores(cell).estimates.items()}


def test_the_own_report_earns_everything_and_another_what_it_shares() -> None:
    given = ["no acute finding here", "large left effusion seen"]
    corpus = merged((text, 1) for text in (*given, "No acute finding there."))
    perfect = measured(facts(given), corpus, [0, 1])
    assert perfect["bleu_4"] == perfect["rouge_l"] == 1
    assert perfect["cider_d"] == pytest.approx(10)
    half = measured(facts(given), corpus, [2, 1])
    assert half["bleu_1"] == pytest.approx(7 / 8)
    assert half["rouge_l"] == pytest.approx((0.75 + 1) / 2)
    assert half["rouge_l_loss"] == pytest.approx(1 - half["rouge_l"])
    assert "finding_f1" not in half


def test_labels_of_the_report_that_was_found_are_compared_with_those_of_the_image() -> None:
    given = ["one", "two", "three", "four"]
    labels = [("edema", "mass"), ("edema",), (), ("mass",)]
    data = facts(given, labels)
    opened = _with_split(data, data.target)
    corpus = corpus_of(opened, "train", "report", labels=True)
    assert [sorted(one) for one in corpus.findings] == [["edema", "mass"], ["edema"], [], ["mass"]]
    found = measured(data, corpus, [1, 1, 2, 2], labels=True)
    # Jaccard 1/2, 1, 1 (nothing and nothing), 0; F1 2/3, 1, 1, 0.
    assert found["finding_jaccard"] == pytest.approx(2.5 / 4)
    assert found["finding_f1"] == pytest.approx((2 / 3 + 2) / 4)
    assert found["finding_loss"] == pytest.approx(1 - 2.5 / 4)


def _with_split(data: SplitFacts, texts: Texts):
    """Facts of a split whose set opens the same texts as every other split."""

    class Opened(SplitFacts):
        def texts_of(self, split: str) -> Texts:
            if split != "train":
                raise LookupError("there are: train")
            return texts

    names = ("name", "split", "fingerprint", "ids", "target", "origin")
    return Opened(**{name: getattr(data, name) for name in names})


def test_answers_that_share_nothing_rare_have_no_interval_of_no_width() -> None:
    """All images have one report, of which nothing is rare: Wilson's bound of none of 40."""
    data = facts(["the heart is normal"] * IMAGES)
    corpus = merged([("the heart is normal", 1), ("a large mass", 1)])
    cell = Cell("0" * 64, dict(Judge(data, corpus).arrays(np.zeros((IMAGES, 1), int))), {}, data)
    found = TASK.scores(cell).estimates["cider_d"]
    assert (found.value, found.low) == (0, 0)
    assert found.high == pytest.approx(10 * 3.841458820694124 / (IMAGES + 3.841458820694124))


def test_labels_of_a_text_are_those_of_at_least_half_of_its_images() -> None:
    values, pairs = np.array(["Clear.", "clear", " "]), [[0, 0], [1, 1], [2, 1], [3, 2]]
    sets = (("edema",), ("edema", "mass"), (), ("mass",))
    texts = Texts(values, np.array(pairs), labels=np.arange(4), label_sets=sets)
    corpus = corpus_of(_with_split(facts(), texts), "train", "report", labels=True)
    assert (list(corpus.texts), list(corpus.times)) == (["Clear."], [2])
    assert sorted(corpus.findings[0]) == ["edema"]


def test_the_nearest_texts_come_in_turn_and_the_first_of_equal_ones() -> None:
    draw = np.random.default_rng(0)
    given = [torch.from_numpy(draw.normal(size=(n, 8)).astype(np.float32)) for n in (30, 20)]
    images, texts = (torch.nn.functional.normalize(one, dim=1) for one in given)
    order = np.argsort(-(images.double() @ texts.double().T).numpy(), axis=1)
    assert nearest(images, texts, 3).tolist() == order[:, :3].tolist()
    doubled = torch.cat([texts, texts])
    assert nearest(images, doubled, 2).tolist() == [[one, one + 20] for one in order[:, 0]]


def test_the_constant_report_is_the_most_typical_one_for_every_image() -> None:
    written = (("no acute finding", 3), ("large left mass", 2), ("edema", 1))
    corpus = merged(written)
    assert corpus.texts[corpus.constant] == "no acute finding"
    data = facts(["no acute finding", "edema"])
    arrays = Constant(0, Judge(data, corpus)).outputs(torch.zeros(2, 4))
    assert arrays["rouge_l"].tolist() == pytest.approx([1, 0])


def test_sentences_are_those_of_all_reports_that_read_differently() -> None:
    corpus = merged([("Heart normal. No mass.", 2), ("no mass", 1), ("Edema?", 1)]).sentences()
    assert list(corpus.texts) == ["Heart normal.", "No mass.", "Edema?"]
    assert list(corpus.times) == [2, 3, 1]


@pytest.mark.parametrize(
    ("source", "content", "told"),
    [
        ("val", None, "is no split of data set 'toy'"),
        ("gone.txt", None, "file gone.txt not found"),
        ("empty.txt", " \n...\n", "has no text with a word in it"),
        ("table.csv", "text\nclear\n", "has no column 'report'"),
    ],
)
def test_what_is_no_corpus_is_said_in_a_sentence(source, content, told, workplace) -> None:
    if content is not None:
        Path(source).write_text(content)
    with pytest.raises(Exception, match=told) as caught:
        corpus_of(_with_split(facts(), facts().target), source, "report", labels=False)
    assert str(caught.value).endswith((".", "report."))


def test_a_corpus_is_read_from_a_file_and_what_is_empty_left_out(workplace, caplog) -> None:
    Path("reports.txt").write_text("Clear.\n\nLarge mass.\nclear\n", encoding="utf-8")
    Path("reports.csv").write_text('n,report\n1,"Clear,\nno mass."\n2,\n', encoding="utf-8")
    found = [corpus_of(facts(), f"reports.{e}", "report", labels=False) for e in ("txt", "csv")]
    assert [list(one.texts) for one in found] == [["Clear.", "Large mass."], ["Clear,\nno mass."]]
    assert "1 of 4 texts is empty: left out" in caplog.text
    assert "one report alone, which is the answer to every image" in caplog.text
    with pytest.raises(ConfigurationError, match=r"a file has none"):
        corpus_of(facts(), "reports.txt", "report", labels=True)


def test_reports_without_a_word_and_answers_without_a_sentence_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="1 of 2 texts of data set 'toy' has no word"):
        TASK.heads(facts(["clear", "..."]), None)
    with pytest.raises(ConfigurationError, match=r"task\.sentences=0 must be a whole number"):
        ReportByRetrieval(sentences=0)
    with pytest.raises(ConfigurationError, match=r"leave task\.labels or task\.sentences out"):
        ReportByRetrieval(sentences=2, labels=True)
    with pytest.raises(ConfigurationError, match=r"task\.labels=abc must be true or false"):
        ReportByRetrieval(labels="abc")
    with pytest.raises(ConfigurationError, match=r"task\.corpus_column=\['a'\] must be one name"):
        ReportByRetrieval(corpus_column=["a"])
    with pytest.raises(ConfigurationError, match="take task=retrieval"):
        ReportByRetrieval(text_corruption=TextCorruption("typos"))


def test_a_set_opens_the_texts_of_its_other_splits_and_no_picture(workplace, monkeypatch) -> None:
    table = write_folder(Path("own"), classes=("clear", "edema"))
    own = Folder(csv=str(table), name="own", text_column="label", target="texts and labels")
    monkeypatch.setattr(Folder, "_images", None)
    assert own.texts_of("train").values.tolist() == ["clear", "edema"]
    assert own.texts_of("train").label_sets == (("clear",), ("edema",))
    texts = Phantoms(target="texts", per_class=2, limit=20).texts_of("train")
    assert len(np.unique(texts.pairs[:, 0])) == 40
    with pytest.raises(UnknownNameError, match="split"):
        Phantoms(target="texts", per_class=2).texts_of("nosuch")
    rest = texts.take(np.arange(3))
    assert replace(texts, labels=np.arange(40)).take(np.arange(2)).labels.tolist() == [0, 1]
    assert len(rest.values) == 9


SMALL = ("dataset=phantoms", "dataset.per_class=2", "task=report_by_retrieval")
RUN = ("model=phantomclip_small", "corruption=gaussian_noise", "severity=5", "hydra.run.dir=out")


@pytest.mark.slow
def test_phantoms_are_answered_beside_a_constant_report_by_one_command(workplace, capsys) -> None:
    assert medrobust(*SMALL, *RUN, "task.labels=true") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "[best" in printed
    assert "[constant" in printed
    table = rows("out/results.csv")
    named = {row["label"] for row in table}
    assert named == {f"phantomclip_small [{name}]" for name in ("best match", "constant report")}
    found = {}
    for row in table:
        found.setdefault((row["metric"], row["severity"]), []).append(float(row["value"]))
    best, constant = found["rouge_l_loss", "0"]
    assert best < constant
    assert found["rouge_l_loss", "5"][1] == constant
    assert found["finding_jaccard", "0"][0] > 0.8
    assert found["bleu_4", "0"][0] > found["bleu_4", "5"][0]


@pytest.mark.slow
def test_one_report_alone_is_said_of_the_corpus_and_is_no_fault_of_the_model(
    workplace, capfd
) -> None:
    Path("one.txt").write_text("Clear lungs.\n")
    Path("two.txt").write_text("Clear lungs.\nLarge mass.\n")
    run = (*SMALL, "model=phantomclip_small", "corruption=clean", "hydra.run.dir=out")
    assert medrobust(*run, "task.corpus=one.txt") == 0
    said = capfd.readouterr()
    assert "one report alone, which is the answer to every image" in said.err
    assert "check weights" not in said.out + said.err
    assert medrobust(*run, "task.corpus=two.txt", "dataset.per_class=3") == 0
    told = [line for line in capfd.readouterr().err.splitlines() if "changed since" in line]
    assert len(told) == 1
    assert "metadata columns) and texts and task (corpus) changed" in told[0]


LONG = "A rib is broken." + " No other fracture is seen." * 12
REPORTS = ("No acute finding of the heart.", "Large effusion at the left base.", LONG)


def test_own_data_are_answered_by_sentences_of_the_training_split_and_no_word_is_stored(
    workplace, capsys
) -> None:
    table = write_folder(Path("own"), classes=REPORTS)
    own = ("dataset=folder", f"dataset.csv={table}", "dataset.text_column=label")
    task = ("task=report_by_retrieval", "task.sentences=2")
    assert medrobust(*own, *task, *RUN) == 0
    said = capsys.readouterr()
    assert "[best" in said.out
    assert "2 sentences]" in said.out
    kept = [path for root in ("outputs", "out") for path in Path(root).rglob("*") if path.is_file()]
    (answers, *_) = [np.load(path) for path in kept if path.name == "answer.npy"]
    assert answers.shape[0] == 6
    for path in kept:
        for encoding in ("utf-8", "utf-32-le"):
            assert REPORTS[1].encode(encoding) not in path.read_bytes(), path
    assert medrobust(*own, "task=report_by_retrieval", "task.sentences=9", *RUN) != 0
    assert "the corpus has 4 sentences that read differently" in capsys.readouterr().err


def test_texts_that_are_longer_than_the_context_are_counted(workplace, capsys) -> None:
    table = write_folder(Path("own"), classes=REPORTS)
    own = ("dataset=folder", f"dataset.csv={table}", "dataset.text_column=label")
    assert medrobust(*own, "task=report_by_retrieval", *RUN) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "the corpus of folder: 1 of 3 texts is longer than the model's 32 tokens" in said
