"""The page says what its numbers are worth, and shows the pictures that it was asked to keep."""

import json

import numpy as np
import pytest
from PIL import Image

from medrobust.cli.monitor import main
from medrobust.exceptions import InvalidDataError, MedRobustError, StoreError
from medrobust.monitor.folder import MonitorFolder
from medrobust.monitor.page import page, write_page
from medrobust.monitor.pictures import shown
from medrobust.monitor.worth import bench_words, delays_of, errors_of

from .test_watch import content

BENCH = """\
change,severity,prevalence,statistic,detector,delay_days,delay_studies,accuracy_changed,wrong_before_alarm
contrast,5,0.3,largest of all,ewma,4.0,160.0,0.75,12.4
contrast,1,0.3,largest of all,ewma,,,0.95,
contrast,5,0.3,embedding shape,online_mmd,7.0,280.0,0.75,20.0
contrast,5,0.3,score 0,ewma,9.0,360.0,0.75,30.0
"""
FREE = """\
metric,method,estimate,truth,corruption,severity
accuracy,atc_mc,0.9,0.8,contrast,5
accuracy,atc_mc,0.7,0.9,noise,3
accuracy,atc_mc,0.5,0.9,clean,0
accuracy,no_change,0.95,0.8,contrast,5
auroc,no_change,0.95,0.1,contrast,5
"""


def written(folder, text):
    file = folder / "table.csv"
    file.write_text(text, encoding="utf-8")
    return file


def test_delays_are_those_of_the_statistic_and_detector_that_alarm(tmp_path):
    file = written(tmp_path, BENCH)
    assert delays_of(file, "ewma") == [
        ("contrast", "5", "30 %", "4 d", "160", "25.0 %", "12"),
        ("contrast", "1", "30 %", "not seen", "–", "5.0 %", "–"),
    ]
    assert [row[3] for row in delays_of(file, "online_mmd")] == ["7 d"]
    with pytest.raises(InvalidDataError, match="no row of cusum"):
        delays_of(file, "cusum")
    with pytest.raises(InvalidDataError, match="no column 'change'"):
        delays_of(written(tmp_path, FREE), "ewma")


def test_a_bench_says_what_it_is_of_or_that_nobody_knows(tmp_path):
    file = written(tmp_path, BENCH)
    record = {"settings": {"window": 14, "budget": 60.0}, "standard": {"studies": 12.3}}
    own = "This monitor: windows of 14 days, one false alarm in 60 days, 12 studies a day."
    assert bench_words(file, record).endswith(f"this bench is, is not known. {own}")
    beside = {"about": "m on d.", "window": 5, "budget": 365.0, "per_day": 40, "reference": 2000}
    file.with_suffix(".json").write_text(json.dumps(beside))
    assert bench_words(file, record).startswith("Bench of m on d. Windows of 5 days, one false al")
    file.with_suffix(".json").write_text("[]")
    with pytest.raises(InvalidDataError, match="run it again"):
        bench_words(file, record)


def test_errors_of_estimates_are_over_corrupted_cells(tmp_path):
    found = errors_of(written(tmp_path, FREE))
    atc = found["atc"]
    assert (atc.mean, atc.worst) == (pytest.approx(0.15), pytest.approx(0.2))
    assert (atc.where, atc.cells) == ("noise 3", 2)
    assert found["no change"].mean == pytest.approx(0.15)
    record = {
        "reference": {"studies": 9, "patients": 9, "first": 0, "last": 1},
        "recipe": "default", "streams": ["a"], "standard": {}, "limit": 2.0,
        "digester": {"confidence": {"accuracy": 0.9}},
    }  # fmt: skip
    windows = [{"day": "d", "statistic": 1.0, "alarm": False, "z": {"a": 1.0},
                "accuracy": {"atc": 0.8, "doc": 0.8}}]  # fmt: skip
    text = page(record, windows, {}, errors=found, delays=[("x", *"123456")])
    assert "On 2 corrupted cells it erred by 15.0 points" in text
    assert "How soon would I notice?" in text


@pytest.mark.parametrize(
    ("recipe", "option", "said"),
    [
        ("mmc_plus", "bench", r"of the default recipe, and .* runs mmc_plus: leave --bench out"),
        ("default", "label_free", "estimates no accuracy, .*: leave --label-free out"),
    ],
)
def test_a_table_that_says_nothing_of_a_monitor_is_refused(tmp_path, recipe, option, said):
    MonitorFolder(tmp_path / "m").create({"recipe": recipe}, {})
    with pytest.raises(InvalidDataError, match=said):
        write_page(tmp_path / "m", tmp_path / "out.html", **{option: written(tmp_path, FREE)})
    assert not (tmp_path / "out.html").exists()


def test_an_update_keeps_pictures_when_asked(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("medrobust.monitor.windows.REFERENCES", 8)
    rng = np.random.default_rng(0)

    def table(name, first, days):
        rows = ["id,time,feature_0,feature_1,path"]
        for day in range(first, first + days):
            for one in range(12):
                x, y = rng.normal(size=2) + (9 * (day == first and one == 0))
                time = np.datetime64("2026-01-01") + day
                rows.append(f"{day}-{one},{time},{x:.3f},{y:.3f},{one % 3}.png")
        (tmp_path / name).write_text("\n".join(rows) + "\n")

    for number in range(3):
        Image.new("L", (300, 200), 80 * number).save(f"{number}.png")
    table("clean.csv", 0, 40)
    table("new.csv", 40, 2)
    options = ["--window", "3", "--fewest", "10", "--budget", "60", "--ignore", "path"]
    assert main(["fit", "--reference", "clean.csv", "--out", "m", *options]) == 0
    update = ["update", "m", "new.csv", "--ignore", "path", "--pictures", "2"]
    assert main(update) in (0, 3)
    found = shown(tmp_path / "m")
    assert [side for _, side, _, _ in found] == ["nearest"] * 2 + ["farthest"] * 2
    assert found[2][2] > 5 > found[0][2]
    kept = sorted((tmp_path / "m" / "pictures").iterdir())
    assert [path.name for path in kept] == ["00.png", "01.png", "02.png", "03.png", "index.json"]
    with Image.open(kept[0]) as picture:
        assert max(picture.size) == 160
    assert main(["report", "m"]) == 0
    assert "data:image/png;base64" in (tmp_path / "m" / "report.html").read_text()
    table("next.csv", 42, 2)
    (tmp_path / "next.csv").write_text((tmp_path / "next.csv").read_text().replace("path", "other"))
    table("lost.csv", 42, 2)
    (tmp_path / "lost.csv").write_text((tmp_path / "lost.csv").read_text().replace(".png", ".gif"))
    before = content(tmp_path / "m")
    for update, said in (
        (["next.csv", "--ignore", "other", "--pictures", "2"], "needs a column 'path'"),
        (["lost.csv", "--ignore", "path", "--pictures", "2"], r"\d\.gif"),
        (["new.csv", "--ignore", "path", "--pictures", "-1"], "--pictures -1 must be 0 or more"),
    ):
        with pytest.raises(MedRobustError, match=said):
            main(["update", "m", *update])
        assert content(tmp_path / "m") == before, update
    monkeypatch.setattr("medrobust.monitor.pictures.write_whole", _full_disk)
    capsys.readouterr()
    with pytest.raises(StoreError, match="pictures cannot be written"):
        main(["update", "m", "new.csv", "--ignore", "path", "--pictures", "2"])
    assert "larm. 2026-02-11" in capsys.readouterr().out  # said before pictures are kept


def _full_disk(*_arguments, **_options):
    raise OSError("no space left")
