"""`medrobust monitor --encode`: images in, features and scores of the same rows out."""

import csv
import os
import subprocess
import sys

import numpy as np
import pytest
from dicoms import write_dicom
from PIL import Image
from run_entry import answer

from medrobust.cli.encode_studies import encoded
from medrobust.cli.monitor_studies import image_files
from medrobust.exceptions import ConfigurationError
from medrobust.monitor.tables import Columns

RUN = [
    "model=phantomclip_small",
    "dataset=folder",
    "dataset.class_names=[dark,bright]",
    "dataset.modality=drawing",
    "trainer.accelerator=cpu",
]


def picture(file, value):
    grid = np.indices((64, 64)).sum(axis=0)
    pixels = np.clip(grid + value, 0, 255).astype(np.uint8)
    Image.fromarray(np.stack([pixels] * 3, axis=2)).save(file)


@pytest.fixture
def table(tmp_path):
    values = [0, 120, 0, 60]
    with (tmp_path / "t.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["id", "time", "path", "view"])
        for number, value in enumerate(values):
            picture(tmp_path / f"{9 - number}.png", value)
            rows.writerow([f"s{number}", f"2026-01-0{number + 1}", f"{9 - number}.png", "PA"])
    return tmp_path / "t.csv"


@pytest.mark.slow
def test_rows_get_the_features_of_their_own_images(table):
    found, model = encoded(table, Columns(), RUN)
    assert found.ids.tolist() == ["s0", "s1", "s2", "s3"]
    assert list(found.categories) == ["view"]
    embedding, scores = found.vectors["embedding"], found.vectors["scores"]
    assert scores.shape == (4, 2)
    np.testing.assert_allclose(embedding[0], embedding[2], atol=1e-6)
    assert np.abs(embedding[0] - embedding[1]).max() > 1e-3
    assert (model.name, len(model.fingerprint)) == ("phantomclip_small phantoms", 64)
    assert model.reading == {"size": 224, "fit": "pad", "bit_depth": 16}
    for path in table.parent.glob("*.png"):
        os.utime(path, (1767312000, 1767312000))
    folder, same = encoded(table.parent, Columns(), RUN)
    assert same == model
    assert folder.ids.tolist() == ["6.png", "7.png", "8.png", "9.png"]
    np.testing.assert_allclose(folder.vectors["embedding"][3], embedding[0], atol=1e-6)
    assert set((folder.times // 86_400).tolist()) == {20_455}


@pytest.mark.slow
def test_dicom_files_get_features_measures_and_what_headers_say(tmp_path):
    pixels = np.indices((64, 64)).sum(axis=0).astype(np.uint8)
    for number, value in enumerate([0, 120, 0]):
        tags = {"StudyDate": f"2026010{number + 1}", "KVP": "110", "PatientID": "P"}
        tags["SOPInstanceUID"] = f"1.2.{9 - number}"
        write_dicom(tmp_path / f"{number}.dcm", pixels + np.uint8(value), **tags)
    run = [*RUN, "dataset=dicom", "quality=alone"]
    run.remove("dataset=folder")
    known = Columns(numeric=("quality brightness",), categorical=("KVP", "Exposure"))
    found, _ = encoded(tmp_path, known, run)
    assert found.ids.tolist() == ["1.2.9", "1.2.8", "1.2.7"]
    assert np.diff(found.times).tolist() == [86_400, 86_400]
    assert len(set(found.patients.tolist())) == 1
    assert found.categories["KVP"].tolist() == ["110"] * 3
    assert found.categories["Exposure"].tolist() == [""] * 3
    bright = found.numbers["quality brightness"]
    assert bright[0] == bright[2] < bright[1]
    rows = found.vectors["embedding"]
    np.testing.assert_allclose(rows[0], rows[2], atol=1e-6)
    assert image_files(tmp_path, found, run) == [tmp_path / f"{n}.dcm" for n in range(3)]
    with pytest.raises(ConfigurationError, match="add quality=alone"):
        encoded(tmp_path, known, run[:-1])
    for name in ("1.dcm", "2.dcm"):
        (tmp_path / name).unlink()
    alone, _ = encoded(tmp_path, known, run)  # a quiet day: fewer images than classes
    np.testing.assert_allclose(alone.vectors["embedding"], rows[:1], atol=1e-5)


def test_what_cannot_be_encoded_is_one_sentence(table, monkeypatch):
    def in_this_process(command, **_):
        assert command[:3] == [sys.executable, "-m", "medrobust"]  # as the test above runs it
        return answer(*command[3:])

    monkeypatch.setattr(subprocess, "run", in_this_process)
    with pytest.raises(ConfigurationError, match=r"dataset\.class_names="):
        encoded(table, Columns(), ["model=phantomclip_small"])
    with pytest.raises(ConfigurationError, match="Did you mean 'phantomclip'"):
        encoded(table, Columns(), ["model=phantomclipp", *RUN[1:]])
    (table.parent / "9.png").unlink()
    with pytest.raises(ConfigurationError, match=r"encoding the images failed: .*9\.png"):
        encoded(table, Columns(), RUN)
    (table.parent / "empty").mkdir()
    with pytest.raises(ConfigurationError, match="holds no images"):
        encoded(table.parent / "empty", Columns(), RUN)
