"""Draws of one recipe become one row with an interval, paired with the model as published."""

import io
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console
from stores import cell_key, data_record

from medrobust.base.seals import sealed_json
from medrobust.evaluation.store import Store
from medrobust.metrics.draws import hierarchical_interval
from medrobust.metrics.influence import balanced_influence
from medrobust.metrics.intervals import balanced_interval, mean_interval, wilson
from medrobust.readings.adaptation import draw_rows, section
from medrobust.readings.adapted.lines import Draw
from medrobust.readings.adapted.over_images import OverImages
from medrobust.reporting import make_report, reference_cells, untuned_cells
from medrobust.reporting.expected import ExpectedTable
from medrobust.reporting.from_store import report_store
from medrobust.tasks.base import Terms

METRICS = ("clean error", "mean corruption error", "mCE")
MATRIX = SimpleNamespace(
    measured=SimpleNamespace(groups=lambda data, terms: None),
    data=None,
    shown="misranked_pairs",
    task=SimpleNamespace(metrics={"misranked_pairs": SimpleNamespace(share=True)}),
)
"""What intervals over images ask of a table."""

WRONG = {"none": (12, 30), "a": (6, 24), "b": (9, 30), "c": (3, 36)}
"""Adapter -> wrong answers of 60, clean and corrupted."""


def written(root: Path, *, without: str = "") -> list:
    store = Store(root)
    data = data_record(classes=2)
    store.write_data(data)
    cells = []
    for number, (adapter, counts) in enumerate(WRONG.items()):
        for severity, wrong in zip((0, 5), counts, strict=True):
            name = "none" if adapter == "none" else f"lora 10% draw {number}"
            corruption = "contrast" if severity else "clean"
            key = cell_key(data, "m", corruption, severity, adapter=name)
            answers = data.labels.copy()
            answers[:wrong] = 1 - answers[:wrong]
            logits = np.eye(2, dtype=np.float32)[answers]
            record = (
                {} if adapter == "none" else {"adaptation": {"label": "lora 10%", "draw": number}}
            )
            if adapter == without and severity:
                continue
            store.write(key, {"logits": logits}, record)
            cells.append(store.read(key.spec, key.fingerprint))
    return cells


def report_of(root: Path, cells: list, untuned: list = ()):
    found, _ = reference_cells(Store(root), cells, "m", command="")
    return make_report(
        cells,
        expected=[ExpectedTable("toy", "test", "imagenet_c", ("contrast",), (5,))],
        missing=[],
        reference="m",
        reference_cells=found,
        notes=[],
        folder=root,
        run={},
        untuned=untuned,
    )


def test_draws_are_joined_and_gains_are_paired(tmp_path: Path) -> None:
    rows = draw_rows(report_of(tmp_path, written(tmp_path)).matrices)
    table = {(r["adaptation"], r["metric"]): r for r in rows}
    assert set(table) == {
        (label, metric)
        for label in ("as published", "lora 10%")
        for metric in ("clean error", "mean corruption error", "mCE")
    }
    lora = table["lora 10%", "clean error"]
    often = np.zeros(60)  # each image was wrong in so many of the draws
    for wrong in (6, 9, 3):
        often[:wrong] += 1 / 3
    labels = data_record(classes=2).labels
    images = balanced_interval(often, labels)
    expected = hierarchical_interval([0.1, 0.15, 0.05], images, limits=(0, 1))
    assert [float(lora[k]) for k in ("value", "low", "high")] == pytest.approx(expected)
    before = np.arange(60) < 12
    paired = mean_interval(balanced_influence(before - often, labels), value=0.1)
    gain = hierarchical_interval([0.1, 0.05, 0.15], paired)
    found = [float(lora[k]) for k in ("gain", "gain_low", "gain_high")]
    assert found == pytest.approx(gain)
    published = table["as published", "clean error"]
    low, high = balanced_interval(before.astype(float), labels)
    assert [float(published[k]) for k in ("low", "high")] == pytest.approx([low, high])
    assert (lora["draws"], lora["n"]) == ("3", "60")
    assert float(table["lora 10%", "mCE"]["value"]) == pytest.approx((24 + 30 + 36) / 90)
    assert table["as published", "mCE"]["low"] == ""
    text = section(report_of(tmp_path, written(tmp_path))).files["adaptation.md"].decode()
    assert "| m | lora 10% | 3 | 10.0 [" in text
    assert "| clean gain | corrupted gain |" in text
    assert "| +10.0 [" in text
    assert float(table["lora 10%", "mCE"]["low"]) < 1.0 < float(table["lora 10%", "mCE"]["high"])


def test_without_bounds_a_gain_is_the_mean_over_draws_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medrobust.metrics.paired.FEWEST_UNITS", 61)
    rows = draw_rows(report_of(tmp_path, written(tmp_path)).matrices)
    table = {r["metric"]: r for r in rows if r["adaptation"] == "lora 10%"}
    corrupted, mce = table["mean corruption error"], table["mCE"]
    assert corrupted["gain_low"] == mce["low"] == ""
    assert float(corrupted["gain"]) == pytest.approx((6 + 0 - 6) / 60 / 3)
    assert float(mce["value"]) == pytest.approx((24 + 30 + 36) / 90)


def test_bounds_of_a_gain_end_where_a_gain_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for adapter in WRONG:
        monkeypatch.setitem(WRONG, adapter, (0, 30) if adapter == "none" else (60, 30))
    rows = draw_rows(report_of(tmp_path, written(tmp_path)).matrices)
    (lost,) = [r for r in rows if (r["adaptation"], r["metric"]) == ("lora 10%", "clean error")]
    assert (float(lost["gain"]), float(lost["gain_low"])) == (-1, -1)
    assert -1 < float(lost["gain_high"]) < 0


def test_what_no_image_moves_has_the_bounds_of_the_images_that_it_rests_on() -> None:
    """An order without a fault over 200 images, 20 of them abnormal, as a share of those 20."""
    terms = Terms(np.zeros(200), first_order=True, smallest=20)
    perfect = Draw({}, terms, np.zeros((1, 200)), np.ones((1, 200)))
    over = OverImages(MATRIX, [perfect, perfect], perfect)
    top = wilson(0.0, 20)[1]
    for metric in METRICS:
        assert over.value(metric) == pytest.approx((0, top))
        assert over.gain(metric) == pytest.approx((-top, top))
    worst = Draw({}, replace(terms, values=np.ones(200)), np.ones((1, 200)), np.ones((1, 200)))
    gained = OverImages(MATRIX, [perfect], worst)
    assert gained.gain("clean error") == pytest.approx((1 - top, 1 + top))


def test_a_loss_that_has_no_interval_gives_its_means_ratios_and_gains_none() -> None:
    wrong = (np.arange(20) % 4 == 0).astype(float)
    terms = Terms(wrong, first_order=True, smallest=3, unbounded="fewer than 5 abnormal images")
    draw = Draw({}, terms, np.roll(wrong, 1)[None], wrong[None])
    over = OverImages(MATRIX, [draw, draw], replace(draw, clean=replace(terms, values=1 - wrong)))
    for metric in METRICS:
        assert (over.value(metric), over.gain(metric)) == (None, None)


def test_few_images_of_a_class_have_no_ratio_whether_draws_err_as_the_reference_or_not() -> None:
    strata = np.repeat([0, 1], [17, 3])
    wrong = (np.arange(20) % 4 == 0).astype(float)
    alike = Draw({}, Terms(wrong, first_order=True, strata=strata), wrong[None], wrong[None])
    other = replace(alike, columns=np.roll(wrong, 1)[None])
    for draw in (alike, other):
        over = OverImages(MATRIX, [draw, draw], draw)
        assert over.too_few == "a class has 3 images, 5 are needed"
        assert (over.value("mCE"), over.gain("mCE")) == (None, None)
        assert over.value("clean error") is not None


def test_a_missing_cell_is_no_smaller_mean(tmp_path: Path) -> None:
    rows = draw_rows(report_of(tmp_path, written(tmp_path, without="b")).matrices)
    metrics = {r["metric"] for r in rows if r["adaptation"] == "lora 10%"}
    assert metrics == {"clean error"}


def test_without_an_adaptation_there_is_no_such_table(tmp_path: Path) -> None:
    cells = [cell for cell in written(tmp_path) if cell.spec.adapter == "none"]
    report = report_of(tmp_path, cells)
    assert section(report) is None
    report.write(tmp_path / "out")
    assert "Adaptations" not in (tmp_path / "out" / "report.html").read_text()


def table_of(report) -> dict:
    rows = draw_rows(report.matrices, report.untuned)
    return {(row["adaptation"], row["metric"]): row for row in rows}


def test_the_model_as_published_is_found_in_the_store_and_gives_the_same_gains(
    tmp_path: Path,
) -> None:
    cells = written(tmp_path)
    whole = table_of(report_of(tmp_path, cells))
    adapted = [cell for cell in cells if cell.spec.adapter != "none"]
    found, notes = untuned_cells(Store(tmp_path), adapted)
    assert [cell.spec.adapter for cell in found] == ["none", "none"]
    assert notes == []
    report = report_of(tmp_path, adapted, found)
    assert table_of(report) == whole
    report.write(tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    section = page[page.index('<h2 id="adaptation">') :]
    section = section[: section.index("</section>")]
    assert "<td>as published</td>" in section
    assert "<td>lora 10%</td><td>3</td><td>10.0 [" in section
    assert "<td>+10.0 [" in section
    assert [row.adapter for row in report.matrices[0].rows].count("none") == 0
    assert untuned_cells(Store(tmp_path), cells) == ([], [])  # they are rows already


@pytest.mark.parametrize("other", [{"weights": "others"}, {"prompts": "others"}])
def test_gains_are_never_counted_from_another_configuration(tmp_path: Path, other: dict) -> None:
    store, data = Store(tmp_path), data_record(classes=2)
    store.write_data(data)
    logits = np.eye(2, dtype=np.float32)[data.labels]
    tuned = cell_key(data, "m", adapter="lora draw 0")
    store.write(tuned, {"logits": logits}, {"adaptation": {"label": "lora", "draw": 0}})
    cells = [store.read(tuned.spec, tuned.fingerprint)]
    same = cell_key(data, "m", **other)
    store.write(same, {"logits": logits}, {})
    found, (note,) = untuned_cells(store, cells)
    assert found == []
    assert "gains need m as published" in note
    assert "1 of 1 cell is not in the store. To make it: " in note
    own = cell_key(data, "m")
    store.write(own, {"logits": logits}, {})
    assert [c.fingerprint for c in untuned_cells(store, cells)[0]] == [own.fingerprint]


def test_an_adapter_that_names_no_draw_has_a_gain_too(tmp_path: Path) -> None:
    cells = [cell for cell in written(tmp_path) if "draw 2" not in cell.spec.adapter]
    for cell in cells:
        if cell.spec.adapter != "none":
            record = json.loads((cell.folder / "cell.json").read_text())
            record["adaptation"] = {"label": cell.spec.adapter, "draw": None}
            (cell.folder / "cell.json").write_bytes(sealed_json(record))
    cells = [Store(tmp_path).read(cell.spec, cell.fingerprint) for cell in cells]
    table = table_of(report_of(tmp_path, cells))
    row = table["lora 10% draw 1", "clean error"]
    assert float(row["gain"]) == pytest.approx((12 - 6) / 60)
    assert row["draws"] == ""


def test_two_prompt_sets_are_two_lines_each_with_its_own_gain(tmp_path: Path) -> None:
    store, data = Store(tmp_path), data_record(classes=2)
    store.write_data(data)
    cells = []
    for prompts, published, tuned in (("one", 12, 6), ("two", 24, 21)):
        for adapter, wrong in (("none", published), ("lora draw 0", tuned)):
            key = cell_key(data, "m", adapter=adapter, prompts=prompts)
            answers = data.labels.copy()
            answers[:wrong] = 1 - answers[:wrong]
            made = {"adaptation": {"label": "lora", "draw": 0}} if adapter != "none" else {}
            store.write(key, {"logits": np.eye(2, dtype=np.float32)[answers]}, made)
            cells.append(store.read(key.spec, key.fingerprint))
    table = table_of(report_of(tmp_path, cells))
    gains = {label: row["gain"] for (label, _), row in table.items()}
    assert gains.keys() == {f"{a} [{p}]" for a in ("as published", "lora") for p in ("one", "two")}
    assert float(gains["lora [one]"]) == pytest.approx(6 / 60)
    assert float(gains["lora [two]"]) == pytest.approx(3 / 60)


def cell_of(store: Store, wrong: int, adapter: str = "none", kind: str = "zero_shot", **more):
    """Write a clean cell of model m with so many wrong answers of 60."""
    data = data_record(classes=2)
    store.write_data(data)
    key = cell_key(data, "m", adapter=adapter, **more)
    if kind == "probe":
        key = replace(key, head={"kind": "probe", "weights": adapter})
    answers = data.labels.copy()
    answers[:wrong] = 1 - answers[:wrong]
    label, _, draw = adapter.partition(" draw ")
    made = {"label": label, "draw": int(draw) if draw else None}
    record = {"adaptation": made} if label not in ("none", "prompt_ensemble") else {}
    store.write(key, {"logits": np.eye(2, dtype=np.float32)[answers]}, record)
    return store.read(key.spec, key.fingerprint)


def gains_of(root: Path, cells: list) -> tuple[dict[str, str], list[str]]:
    """Return the clean gain of each line of a report of these cells, and its notes on bases."""
    found, notes = untuned_cells(Store(root), cells)
    table = table_of(report_of(root, cells, found))
    return {label: row["gain"] for (label, metric), row in table.items() if metric != "mCE"}, notes


@pytest.mark.slow
@pytest.mark.parametrize("other", [{"prompts": "two"}, {"weights": "others"}, {"precision": "16"}])
def test_gains_skip_another_configuration_in_the_report(tmp_path: Path, other: dict) -> None:
    store = Store(tmp_path)
    cells = [
        cell_of(store, 24, **({"prompts": "one"} | other)),
        cell_of(store, 6, "lora draw 0", prompts="one"),
    ]
    gains, (note,) = gains_of(tmp_path, cells)
    assert gains == {"as published": "", "lora": ""}
    assert "1 of 1 cell is not in the store" in note
    cell_of(store, 12, prompts="one")
    gains, notes = gains_of(tmp_path, cells)
    assert float(gains["lora"]) == pytest.approx(6 / 60)  # of 24 wrong ones it would be 18 / 60
    assert len(gains) == 3  # each model as published has a line of its own
    assert notes == []


def test_draws_of_two_precisions_are_two_lines(tmp_path: Path) -> None:
    store = Store(tmp_path)
    cells = [
        cell_of(store, wrong, adapter, precision=precision)
        for precision, counts in (("32", (12, 6)), ("16", (24, 21)))
        for adapter, wrong in zip(("none", "lora draw 0"), counts, strict=True)
    ]
    gains, notes = gains_of(tmp_path, cells)
    tuned = sorted(float(gain) for label, gain in gains.items() if label.startswith("lora"))
    assert tuned == pytest.approx([3 / 60, 6 / 60])
    assert notes == []


@pytest.mark.parametrize(
    ("adapter", "kind"), [("probe", "probe"), ("prompt_ensemble", "zero_shot")]
)
def test_what_has_no_prompts_in_common_is_compared_with_the_only_one(
    tmp_path: Path, adapter: str, kind: str
) -> None:
    store = Store(tmp_path)
    cells = [
        cell_of(store, 12, prompts="one"),
        cell_of(store, 9, adapter, kind, prompts="ensemble"),
        cell_of(store, 6, "lora", prompts="two"),
    ]
    cell_of(store, 30, prompts="two")
    gains, notes = gains_of(tmp_path, cells)
    assert float(gains[adapter]) == pytest.approx(3 / 60)  # the report's own goes first
    assert float(gains["lora"]) == pytest.approx(24 / 60)
    assert notes == []


def test_a_probe_beside_two_prompt_sets_has_no_gain_and_the_report_says_why(tmp_path: Path) -> None:
    store = Store(tmp_path)
    cells = [cell_of(store, 12, prompts="one"), cell_of(store, 24, prompts="two")]
    cells.append(cell_of(store, 6, "probe", "probe"))
    gains, (note,) = gains_of(tmp_path, cells)
    assert gains["probe"] == ""
    assert "gains of probes of m are left out" in note
    assert "(one, two)" in note


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ({"base_classifies": False}, "probes of m have no gains: it has no text side"),
        ({"base_classifies": True}, "To make it: the same command without the adapter"),
        ({}, "the same command without the adapter, if the model has a text side"),
    ],
)
def test_no_command_is_advised_that_an_image_tower_alone_refuses(
    tmp_path: Path, base: dict[str, bool], said: str
) -> None:
    """Cells of earlier versions do not say what their base is."""
    cell = cell_of(Store(tmp_path), 6, "probe", "probe")
    cell.record["adaptation"].update(base)
    found, (note,) = untuned_cells(Store(tmp_path), [cell])
    assert found == []
    assert said in note
    assert ("To make it" in note) == (base != {"base_classifies": False})
    assert note.endswith("adapter") == bool(base)


def test_a_report_of_a_store_without_the_model_as_published_says_so(tmp_path: Path) -> None:
    cell_of(Store(tmp_path), 6, "lora")
    report = report_store(tmp_path, tmp_path / "out", figures=False, interactive=False)
    assert any("gains need m as published" in note for note in report.notes)
    cell_of(Store(tmp_path), 12)
    report = report_store(tmp_path, tmp_path / "out", figures=False, interactive=False)
    assert not any("gains need" in note for note in report.notes)


def test_the_terminal_shows_a_table_and_no_markdown(tmp_path: Path) -> None:
    report = report_of(tmp_path, written(tmp_path))
    console = Console(width=140, file=io.StringIO())
    report.print(console)
    text = console.file.getvalue()
    (line,) = [line for line in text.splitlines() if "as published" in line and "│" in line][:1]
    assert line.count("│") > 5
    assert "|--" not in text
    assert "| model |" not in text
    assert " ".join(text.split()).count("In brackets: 95 % intervals over draws") == 1
