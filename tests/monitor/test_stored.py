"""Studies from a store: one clean cell, its metadata, its model, and days where it knows none."""

from dataclasses import replace

import numpy as np
import pytest
from stores import cell_key, data_record, write_cell

from medrobust.base.fingerprints import fingerprint
from medrobust.cli.monitor import main
from medrobust.evaluation.store import CellKey, Store
from medrobust.exceptions import ConfigurationError, InvalidDataError
from medrobust.monitor.stored import Choice, studies_of_store
from medrobust.monitor.tables import Columns


def written(root, name, model="m", *, count=400, metadata=None, columns=()):
    store = Store(root)
    data = data_record(name, count=count)
    if metadata is not None:
        data = replace(
            data,
            fingerprint=fingerprint([name, "metadata"]),
            metadata=np.array(metadata, dtype=np.str_),
            metadata_columns=columns,
        )
    return write_cell(store, data, cell_key(data, model), skill=1.0)


def test_a_cell_without_times_is_dealt_out_to_days(tmp_path):
    written(tmp_path, "toy", count=90)
    found, model = studies_of_store(tmp_path, Choice(per_day=20), Columns())
    assert np.bincount(found.days - found.days.min()).tolist() == [20, 20, 20, 20, 10]
    assert found.vectors["scores"].sum(axis=1) == pytest.approx(1.0)
    assert model.name == "m plain"
    assert len(model.fingerprint) == 64
    again, _ = studies_of_store(tmp_path, Choice(per_day=20), Columns())
    assert again.times.tolist() == found.times.tolist()
    with pytest.raises(ConfigurationError, match="--per-day N"):
        studies_of_store(tmp_path, Choice(), Columns())
    with pytest.raises(ConfigurationError, match="write a date"):
        studies_of_store(tmp_path, Choice(per_day=2, start="soon"), Columns())


def test_metadata_are_streams_and_times(tmp_path):
    rows = [[f"2026-01-{1 + i // 30:02d}", str(i + 0.5), "PA" if i % 2 else ""] for i in range(90)]
    written(tmp_path, "toy", count=90, metadata=rows, columns=("time", "age", "view"))
    found, _ = studies_of_store(tmp_path, Choice(), Columns())
    assert (list(found.numbers), list(found.categories)) == (["age"], ["view"])
    assert len(set(found.days.tolist())) == 3
    exact = Columns(numeric=(), categorical=("view",))
    assert not studies_of_store(tmp_path, Choice(), exact)[0].numbers
    wrong = Columns(numeric=("view",), categorical=())
    with pytest.raises(InvalidDataError, match="metadata column 'view'"):
        studies_of_store(tmp_path, Choice(), wrong)


def test_measures_of_image_quality_are_streams_where_the_store_has_them(tmp_path):
    from medrobust.evaluation.image_cells import MODEL
    from medrobust.monitor.stored import IMAGES

    assert IMAGES == MODEL
    cell = written(tmp_path, "toy", count=90)
    assert not studies_of_store(tmp_path, Choice(per_day=20), Columns())[0].numbers
    names = ["ssim", "brightness", "snr"]
    measures = np.random.default_rng(0).normal(size=(90, 3))
    measures[4, 2] = np.inf
    store = Store(tmp_path)
    key = CellKey(
        replace(cell.spec, model=MODEL, adapter="none"),
        {"images": {"size": [8, 8]}, "data": cell.data.fingerprint},
        {"kind": "image_quality", "measures": names, "version": 1},
        cell.data.fingerprint,
    )
    store.write(key, {"measures": measures}, {"status": "done"})
    found, _ = studies_of_store(tmp_path, Choice(per_day=20), Columns())
    assert list(found.numbers) == ["quality brightness", "quality snr"]  # ssim needs originals
    assert found.numbers["quality brightness"].tolist() == measures[:, 1].tolist()
    assert np.isnan(found.numbers["quality snr"][4])
    some = Columns(numeric=("quality snr",), categorical=())
    assert list(studies_of_store(tmp_path, Choice(per_day=20), some)[0].numbers) == ["quality snr"]


def test_several_cells_must_be_told_apart(tmp_path):
    written(tmp_path, "toy", "m1")
    written(tmp_path, "toy", "m2")
    with pytest.raises(ConfigurationError, match="2 clean cells fit; there are: m1 toy test plain"):
        studies_of_store(tmp_path, Choice(per_day=5), Columns())
    assert studies_of_store(tmp_path, Choice(model="m2", per_day=5), Columns())[1]


@pytest.mark.slow
def test_a_monitor_of_a_store_takes_studies_of_the_same_model_alone(tmp_path, capsys):
    store, out = str(tmp_path / "store"), str(tmp_path / "monitor")
    for name, model in (("old", "m"), ("new", "m"), ("new", "other")):
        written(tmp_path / "store", name, model)
    days = ["--per-day", "8", "--model", "m"]
    options = ["--window", "3", "--fewest", "10", "--budget", "100"]
    fit = ["fit", "--reference", store, "--dataset", "old", "--out", out, *days, *options]
    assert main(fit) == 0
    later = ["--dataset", "new", "--per-day", "8", "--start", "2026-03-01"]
    assert main(["update", out, store, *later, "--model", "m"]) in (0, 3)
    assert "400 new studies. " in capsys.readouterr().out
    told = "come from model 'other plain', and the reference from model 'm plain': .* two models"
    with pytest.raises(ConfigurationError, match=told):
        main(["update", out, store, *later, "--model", "other"])


def test_names_that_the_store_does_not_have_are_refused_with_those_it_has(tmp_path):
    rows = [[f"2026-01-{1 + i // 30:02d}", str(i + 0.5), "PA"] for i in range(90)]
    written(tmp_path, "toy", count=90, metadata=rows, columns=("time", "age", "view"))
    for columns, sentence in (
        (Columns(ignored=("nosuch",)), "no stream 'nosuch', which --ignore names; it has: age, vi"),
        (Columns(numeric=("kvp",)), "no stream 'kvp', which --numeric names"),
        (Columns(categorical=("kvp",)), "no stream 'kvp', which --categorical names"),
        (Columns(numeric=("age",), categorical=(), ignored=("age",)), "is a stream of the monitor"),
    ):
        with pytest.raises(InvalidDataError, match=sentence):
            studies_of_store(tmp_path, Choice(), columns)
    assert not studies_of_store(tmp_path, Choice(), Columns(ignored=("age",)))[0].numbers
    with pytest.raises(ConfigurationError, match="no metadata column 'when', which --time names"):
        studies_of_store(tmp_path, Choice(per_day=9), Columns(time="when"))
    with pytest.raises(ConfigurationError, match="keeps time stamps under 'time': leave --per-day"):
        studies_of_store(tmp_path, Choice(per_day=9), Columns())
    with pytest.raises(ConfigurationError, match="--label names a column of a table"):
        main(["fit", "--reference", str(tmp_path), "--label", "y", "--out", str(tmp_path / "out")])
