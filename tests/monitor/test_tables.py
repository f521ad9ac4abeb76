"""Studies from tables: kinds of columns, vectors beside them, and what people get wrong."""

import numpy as np
import pytest

from medrobust.exceptions import InvalidDataError
from medrobust.monitor.studies import DAY, seconds_of, unlike
from medrobust.monitor.tables import Columns, studies_of_table

HEAD = "id,time,patient,age,view,feature_0,feature_1"


def write(folder, rows, head=HEAD, name="t.csv"):
    file = folder / name
    file.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return file


def lines(count):
    return [
        f"s{i},2026-01-{1 + i // 4:02d}T0{i % 4}:30:00,p{i // 2},{i + 0.5},{'PA' if i % 2 else ''},"
        f"{i},{-i}"
        for i in range(count)
    ]


def test_columns_find_their_kinds(tmp_path):
    found = studies_of_table(write(tmp_path, lines(60)), Columns())
    assert list(found.numbers) == ["age"]
    assert found.categories["view"][:2].tolist() == ["", "PA"]
    assert found.vectors["embedding"][3].tolist() == [3.0, -3.0]
    assert len(set(found.patients.tolist())) == 30
    assert found.zone == ""
    assert found.days[0] == seconds_of("2026-01-01") // DAY
    few = studies_of_table(write(tmp_path, lines(20)), Columns())
    assert "age" in few.categories
    named = studies_of_table(write(tmp_path, lines(20)), Columns(numeric=("age",)))
    assert list(named.numbers) == ["age"]
    assert "is" in str(unlike(found, few))
    head, own = HEAD.replace("feature_1", "odd"), Columns(numeric=("age",), categorical=("view",))
    known = studies_of_table(write(tmp_path, lines(20), head), own)  # as a monitor: no others
    assert list(known.categories) == ["view"]
    some = studies_of_table(
        write(tmp_path, lines(20)), Columns(numeric=("age",), categorical=(), open=True)
    )
    assert (list(some.numbers), list(some.categories)) == (["age"], ["view"])
    with pytest.raises(InvalidDataError, match="'age' is named by --numeric and by --categorical"):
        Columns(numeric=("age",), categorical=("view", "age"))


def test_columns_of_vectors_stand_in_the_order_of_their_numbers(tmp_path):
    head = "id,time,feature_10,feature_1,feature_2,score2,score1"
    found = studies_of_table(write(tmp_path, ["s0,2026-01-01,10,1,2,.2,.1"], head), Columns())
    assert found.vectors["embedding"].tolist() == [[1, 2, 10]]
    assert found.vectors["scores"] == pytest.approx(np.array([[0.1, 0.2]]))


def test_vectors_may_lie_beside_the_table(tmp_path):
    file = write(
        tmp_path, [line.rsplit(",", 2)[0] for line in lines(5)], "id,time,patient,age,view"
    )
    np.save(tmp_path / "t.features.npy", np.ones((5, 3)))
    np.save(tmp_path / "t.scores.npy", np.ones((5, 2), np.float32))
    found = studies_of_table(file, Columns(label=""))
    assert {name: rows.shape for name, rows in found.vectors.items()} == {
        "embedding": (5, 3),
        "scores": (5, 2),
    }
    np.save(tmp_path / "t.features.npy", np.ones((4, 3)))
    with pytest.raises(InvalidDataError, match=r"must be numbers \(5, D\)"):
        studies_of_table(file, Columns())
    np.save(tmp_path / "t.features.npy", np.full((5, 3), np.nan))
    with pytest.raises(InvalidDataError, match="line 2: embedding holds no finite number"):
        studies_of_table(file, Columns())


def test_a_table_without_patients_has_one_a_study(tmp_path):
    rows = [f"s{i},2026-01-01,{i}" for i in range(3)]
    rows[0] = "s0,2026-01-01T08:30:00.25-03:30,0"
    rows[1:] = [row.replace("01,", "01T08:30Z,") for row in rows[1:]]
    found = studies_of_table(write(tmp_path, rows, "id,time,x"), Columns())
    assert found.rows([0]).zone == "-03:30"
    assert found.patients.tolist() == ["s0", "s1", "s2"]


@pytest.mark.parametrize(
    ("rows", "head", "columns", "sentence"),
    [
        (["s0,yesterday"], "id,time", Columns(), "line 2: the time 'yesterday'"),
        (["s0,2026-01-01"], "name,time", Columns(), "no column 'id'; it has: name, time"),
        ([",2026-01-01,1"], "id,time,x", Columns(), "a study that is given twice counts twice"),
        (
            ["s0,2026-01-01T08:00:00+02:00", "s1,2026-01-01T08:00:00"],
            "id,time",
            Columns(),
            "line 3: this time states no zone, and others of the table do",
        ),
        (["s0,2026-01-01,inf"], "id,time,x", Columns(numeric=("x",)), "line 2: 'inf' .* no finite"),
        (["s0,2026-01-01"], "id,time", Columns(ignored=("no",)), "'no', which --ignore names"),
        (["s0,2026-01-01"], "id,time", Columns(patient="no"), "'no', which --patient names"),
        (
            ["s0,2026-01-01,1"],
            "id,time,x",
            Columns(numeric=("x",), categorical=(), ignored=("x",)),
            "'x' is a stream of the monitor",
        ),
        (["s0,2026-01-01,1e20"], "id,time,feature_0", Columns(), "no finite number below 1e"),
        (["s0,2026-01-01,1e300"], "id,time,feature_0", Columns(), "no finite number below 1e"),
        (["s0,2026-01-01,a"], "id,time,x", Columns(numeric=("x",)), "'a' in column 'x' is no"),
        (
            [f"s{i},2026-01-01,John {i}" for i in range(300)],
            "id,time,name",
            Columns(),
            "may name studies or people: pass --ignore name",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path, rows, head, columns, sentence):
    with pytest.raises(InvalidDataError, match=sentence):
        studies_of_table(write(tmp_path, rows, head), columns)


def test_times_of_dicom_are_read_and_impossible_years_named():
    from medrobust.monitor.studies import day_text

    expected = seconds_of("2026-01-31T08:30:00+02:00")
    assert seconds_of("20260131083000.000000+0200") == expected
    assert seconds_of("20260131083000") == seconds_of("2026-01-31 08:30")
    assert day_text(seconds_of("9999-12-31T23:00:00-05:00") // DAY).startswith("year 10")
