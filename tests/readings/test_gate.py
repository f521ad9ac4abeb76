"""The gate from stored cells to verdicts on files."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from discs import COUNT, MEASURES, SIZE, make_store, pictures, shown
from PIL import Image
from stores import cell_key, data_record, write_cell

from medrobust.cli.entry import main
from medrobust.evaluation.store import Store
from medrobust.quality import measure
from medrobust.readings.gate.pairs import Pair


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("gate")
    make_store(place / "store", "val", seed=1)
    make_store(place / "store", "test", seed=2)
    assert typed("fit", place / "store", "--out", place / "gate.json", "--alpha", "0.15") == 0
    return place


def typed(*words: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(["gate", *map(str, words)])
    return int(stopped.value.code or 0)


def unsealed(folder: Path) -> dict[str, Any]:
    """Read the gate as one of before that had no seal, so that it can be changed."""
    gate = json.loads((folder / "gate.json").read_text())
    return {name: value for name, value in gate.items() if not name.startswith("seal")}


def test_a_fitted_gate_keeps_clean_images_and_its_promise_on_other_patients(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = json.loads((folder / "gate.json").read_text())
    accepted = gate["tests"][-1 if gate["tests"][-1]["p"] <= 0.05 else -2]["count"]
    assert f"{accepted} patients accepted of {gate['tested']} tested" in gate["sentence"]
    assert accepted < gate["tested"] == 160  # two thirds of 240 patients
    assert gate["clean_kept"][1] >= 0.95
    assert gate["tests"][0]["p"] <= 0.05
    assert (
        typed("report", folder / "gate.json", folder / "store", "--out", folder / "gate.csv") == 0
    )
    rows = list(csv.DictReader((folder / "gate.csv").read_text().splitlines()))
    found = {row["condition"]: row for row in rows}
    assert float(found["clean"]["accepted"]) >= 0.9
    assert float(found["gaussian_noise s5"]["accepted"]) < 0.05
    assert float(found["gaussian_noise s5"]["error"]) == pytest.approx(0.6, abs=0.1)
    said = capsys.readouterr().out
    assert "errs on at most 15 %" in said
    assert "4 conditions of the fit: error" in said
    check_mixture(found, said)


def check_mixture(found: dict[str, dict[str, str]], said: str) -> None:
    """Hold the mixture against the rows of its conditions: clean 1/2, the four others 1/8 each."""
    shares = {"clean": 0.5} | dict.fromkeys(set(found) - {"clean", "mixture of the fit"}, 0.125)
    assert len(shares) == 5
    kept = {name: weight * float(found[name]["accepted"]) for name, weight in shares.items()}
    lost = sum(kept[name] * float(found[name]["accepted_error"] or 0) for name in shares)
    mixture = found["mixture of the fit"]
    assert float(mixture["accepted"]) == pytest.approx(sum(kept.values()), abs=2e-4)
    risk = lost / sum(kept.values())
    assert float(mixture["accepted_error"]) == pytest.approx(risk, abs=2e-4)
    assert float(mixture["accepted_error_low"]) < risk < float(mixture["accepted_error_high"])
    assert (mixture["n"], mixture["units"], mixture["fitted"]) == ("480", "240", "true")
    (line,) = [one for one in said.splitlines() if one.startswith("Mixture of the fit: ")]
    assert f"{100 * risk:.1f} % [" in line
    assert line.endswith("of these wrong (240 patients), within 15 %, as promised.")


def test_a_broken_promise_and_a_mixture_that_is_not_there_are_said(folder: Path) -> None:
    from medrobust.readings.gate.gate import read_gate
    from medrobust.readings.gate.pairs import Choice, pairs
    from medrobust.readings.gate.realised import mixtures, realised, summary

    gate = read_gate(unsealed(folder))
    found = pairs([Store(folder / "store")], Choice(split="test"))
    shifted = [replace(pair, wrong=pair.wrong | (np.arange(COUNT) % 4 == 0)) for pair in found]
    said = summary(gate, realised(gate, shifted), mixtures(gate, shifted))
    assert said[1].endswith("above 15 % beyond chance: the promise is broken here.")
    assert mixtures(gate, found[:1]) == []
    both = [Store(folder / "store"), Store(folder / "store")]
    assert len(pairs(both, Choice(split="test"))) == len(found)  # a copy proves nothing twice
    other = [of_another_suite(pair) for pair in found]
    assert [one.condition for one in realised(gate, other) if one.fitted] == ["clean"]
    contrast = next(pair for pair in other if pair.condition == "contrast s5")
    assert {one.condition for one in realised(gate, [*found, contrast])} == {
        "clean", "gaussian_noise s1", "gaussian_noise s3", "gaussian_noise s5",
        "contrast s5 (imagenet_c)", "contrast s5 (medimeta_c)",
    }  # fmt: skip
    assert [one.condition for one in mixtures(gate, other)] == ["mixture, others"]
    (line,) = summary(gate, realised(gate, found[:1]), [])[1:2]
    assert line.startswith("The risk of the mixture of the fit is not known: these cells lack 4")


def of_another_suite(pair: Pair) -> Pair:
    """Give the corruption the parameters of another suite, under the same name."""
    cell = pair.answers
    if cell.spec.severity == 0:
        return pair
    encoding = dict(cell.record["encoding"])
    encoding["corruption"] = {**encoding["corruption"], "parameters": [0.5]}
    spec, record = replace(cell.spec, suite="medimeta_c"), {**cell.record, "encoding": encoding}
    return replace(pair, answers=replace(cell, spec=spec, record=record))


def test_conditions_that_were_held_out_are_told_apart(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = folder / "held.json"
    assert typed("fit", folder / "store", "--out", gate, "--held-out", "contrast",
                 "--alpha", "0.2") == 0  # fmt: skip
    assert "contrast s5" not in json.loads(gate.read_text())["conditions"].values()
    capsys.readouterr()
    assert typed("report", gate, folder / "store") == 0
    lines = capsys.readouterr().out.splitlines()
    (row,) = [line for line in lines if line.startswith("contrast s5")]
    assert row.split()[2] == "no"
    assert any(line.startswith("1 condition that the fit did not see") for line in lines)
    (other,) = [line for line in lines if line.startswith("Mixture, others: ")]
    assert other.endswith("nothing was promised of it.")


def test_files_are_accepted_or_refused_with_reasons_and_a_status(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scans = folder / "scans"
    scans.mkdir()
    clean = pictures(9, 3)
    noisy = shown(clean, "gaussian_noise", 5)
    for name, batch in (("clean", clean), ("noisy", noisy)):
        for row, image in enumerate(batch):
            Image.fromarray(image[0].numpy()).save(scans / f"{name}{row}.png")
    capsys.readouterr()
    assert typed("check", folder / "gate.json", scans / "clean0.png") == 0
    assert "1 of 1 accepted" in capsys.readouterr().out
    Image.fromarray(clean[1, 0].numpy().astype(np.uint16) * 257).save(scans / "deep.png")
    (scans / "broken.png").write_bytes(b"not a picture")
    (scans / "gone.png").symlink_to(scans / "nowhere.png")
    Image.fromarray(np.zeros((SIZE, SIZE, 3), np.uint8)).save(scans / "colour.png")
    Image.fromarray(clean[0, 0, :40, :40].numpy()).save(scans / "small.png")
    for name, kind in (("a.webp", "WEBP"), ("1.2.840.1", "PNG"), ("list.csv", "PPM"),
                       ("x\naccepted  b.jp2", "JPEG2000")):  # fmt: skip
        Image.fromarray(noisy[0, 0].numpy()).save(scans / name, kind, lossless=True)
    for name in ("labels.csv", ".DS_Store", "IM.001"):
        (scans / name).write_text("path,label")
    (scans / "linked").symlink_to(folder)
    assert typed("check", folder / "gate.json", scans, "--json") == 3
    told = json.loads(capsys.readouterr().out)
    assert told["passed"] == {"labels.csv": "is no image", ".DS_Store": "is hidden"}
    by_name = {each["file"]: each for each in told["images"]}
    assert "a colour image" in by_name["a.webp"]["reasons"][0]
    for name in ("1.2.840.1", "list.csv", "x\naccepted  b.jp2"):
        assert by_name[name]["reasons"][0].split()[0] in MEASURES
    assert "cannot be read" in by_name["IM.001"]["reasons"][0]
    assert "a linked folder" in by_name["linked"]["reasons"][0]
    assert [by_name[f"clean{row}.png"]["accepted"] for row in range(3)] == [True] * 3
    assert by_name["deep.png"]["measures"] == by_name["clean1.png"]["measures"]
    assert by_name["noisy0.png"]["reasons"][0].split()[0] in MEASURES
    assert "is above" in by_name["noisy0.png"]["reasons"][0]
    assert "cannot be read" in by_name["broken.png"]["reasons"][0]
    assert by_name["gone.png"]["reasons"] == ["cannot be read: No such file or directory"]
    assert "a colour image, and the gate is of grey images" in by_name["colour.png"]["reasons"][0]
    assert "40 x 40 pixels" in by_name["small.png"]["reasons"][0]
    stored = measure(clean[:1], MEASURES)
    for name, value in by_name["clean0.png"]["measures"].items():
        assert value == pytest.approx(stored[name].item(), rel=1e-6)


def test_tables_beside_images_change_no_status_and_names_forge_no_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scans = folder / "two"
    scans.mkdir()
    Image.fromarray(pictures(9, 1)[0, 0].numpy()).save(scans / "a\nrefused  b.png")
    (scans / "labels.csv").write_text("path,label")
    capsys.readouterr()
    assert typed("check", folder / "gate.json", scans) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == r"accepted  a\nrefused  b.png"
    assert lines[2] == "1 file in the folder was passed over: labels.csv (it is no image)"
    assert typed("check", scans, folder / "gate.json") == 1
    assert "write the gate first, then the images" in capsys.readouterr().err


def test_images_unlike_any_that_were_tested_are_refused_however_high_the_risk(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = folder / "high.json"
    assert typed("fit", folder / "store", "--out", gate, "--alpha", "0.7") == 0
    record = json.loads(gate.read_text())
    assert [step["p"] <= 0.05 for step in record["tests"]] == [True] * len(record["tests"])
    shown_ = folder / "unlike"
    shown_.mkdir()
    drawn = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE)).astype(np.uint8)
    for name, image in (("black", 0 * drawn), ("white", 0 * drawn + 255), ("noise", drawn)):
        Image.fromarray(image).save(shown_ / f"{name}.png")
    noisy = shown(pictures(9, 1), "gaussian_noise", 5)  # a condition of the fit
    Image.fromarray(noisy[0, 0].numpy()).save(folder / "tested.png")
    capsys.readouterr()
    assert typed("check", gate, folder / "tested.png") == 0
    capsys.readouterr()
    assert typed("check", gate, shown_, "--json") == 3
    for one in json.loads(capsys.readouterr().out)["images"]:
        name, value = one["reasons"][0].split()[:2]
        least, greatest = (record["measures"][name][end] for end in ("least", "greatest"))
        told = f"{name} {value} is outside what was tested, {least:.4g} to {greatest:.4g}"
        assert one["reasons"][0] == told
        assert not least <= one["measures"][name] <= greatest


def test_a_dicom_file_of_another_modality_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pydicom import examples

    gate = unsealed(folder)
    gate["images"]["modality"] = "CR"
    (folder / "cr.json").write_text(json.dumps(gate))
    examples.ct.save_as(folder / "slice.dcm")
    assert typed("check", folder / "cr.json", folder / "slice.dcm") == 3
    assert "its modality is CT, the gate's is CR" in capsys.readouterr().out
    assert typed("check", folder / "gate.json", folder / "slice.dcm") in (0, 3)
    assert "cannot be read" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--split", "train"), "hold no cells of the split 'train'"),
        (("--alpha", "0.001"), "patients to test: even without an error"),
        (("--alpha", "2"), "write a number between 0 and 1"),
        (("--alpha", "0.03"), "no limit keeps a risk of 3 %"),
        (("--model", "plantd"), "Did you mean 'planted'"),
        (("--held-out", "fog"), "unknown corruption of these stores 'fog'"),
        (("--held-out", "clean"), "unknown corruption of these stores 'clean'"),
        (("--class", "class 7"), "unknown class 'class 7'"),
        (("--held-out", "gaussian_noise,contrast"), "no corrupted images are left to fit on"),
    ],
)
def test_what_cannot_be_fitted_is_said_in_a_sentence(
    folder: Path, words: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed("fit", folder / "store", "--out", folder / "x.json", *words) == 1
    assert sentence in capsys.readouterr().err
    assert not (folder / "x.json").exists()


def test_a_gate_of_another_model_and_a_file_that_is_none_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = unsealed(folder)
    (folder / "other.json").write_text(json.dumps({**gate, "row": "0" * 64}))
    assert typed("report", folder / "other.json", folder / "store") == 1
    assert "with other weights, prompts or precision" in capsys.readouterr().err
    (folder / "none.json").write_text('{"limit": 3}')
    assert typed("check", folder / "none.json", folder) == 1
    assert "no gate of format 3" in capsys.readouterr().err
    for version, lacks in ((1, "how far"), (2, "which parameters")):
        (folder / "before.json").write_text(json.dumps({**gate, "format": version}))
        assert typed("check", folder / "before.json", folder) == 1
        assert f"of format {version}, which does not say {lacks}" in capsys.readouterr().err
    assert typed("check", folder / "missing.json", folder) == 1
    assert "Make it by `medrobust gate fit`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"limit": 99.0}, "its limit is none of those that were tested"),
        ({"in_logs": ["noise"]}, "logarithms of measures that it does not have"),
        ({"measures": 5}, "this gate is damaged"),
    ],
)
def test_a_gate_that_was_edited_is_refused_with_its_seal_and_without(
    folder: Path, changes: dict[str, Any], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sealed = json.loads((folder / "gate.json").read_text())
    for gate, told in ((sealed, "not the one that was sealed"), (unsealed(folder), sentence)):
        (folder / "edited.json").write_text(json.dumps(gate | changes))
        assert typed("check", folder / "edited.json", folder) == 1
        assert told in capsys.readouterr().err


def test_a_gate_of_images_of_another_size_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = unsealed(folder)
    gate["images"] |= {"size": 224, "channels": 3}
    (folder / "large.json").write_text(json.dumps(gate))
    assert typed("report", folder / "large.json", folder / "store") == 1
    said = capsys.readouterr().err
    assert "is of colour images of 224 pixels a side" in said
    assert "these cells are of grey ones of 64" in said


def test_no_clean_cell_and_one_class_are_refused(folder: Path) -> None:
    from medrobust.exceptions import ConfigurationError
    from medrobust.readings.gate.fit import fit
    from medrobust.readings.gate.gate import Promise
    from medrobust.readings.gate.pairs import Choice, pairs

    found = pairs([Store(folder / "store")], Choice(split="val"))
    corrupted = [pair for pair in found if pair.condition != "clean"]
    with pytest.raises(ConfigurationError, match="no clean images are measured in these stores"):
        fit(corrupted, Promise(alpha=0.15))
    alike = [replace(pair, target=np.zeros_like(pair.target)) for pair in found]
    with pytest.raises(ConfigurationError, match="all images are of one class"):
        fit(alike, Promise(alpha=0.15))
    few = [replace(p, values=p.values[:40], wrong=p.wrong[:40], target=p.target[:40],
                   patients=p.patients[:40]) for p in found]  # fmt: skip
    told = "14 clean images .* at least 20 are needed, .* about 30 in all; here are 20"
    with pytest.raises(ConfigurationError, match=told):
        fit(few, Promise(alpha=0.15))


def test_where_no_patients_are_named_images_are_said(folder: Path) -> None:
    from medrobust.exceptions import ConfigurationError
    from medrobust.readings.gate.fit import fit
    from medrobust.readings.gate.gate import Promise
    from medrobust.readings.gate.pairs import Choice, pairs

    found = []
    for pair in pairs([Store(folder / "store")], Choice(split="val")):
        data = replace(pair.answers.data, groups=None)
        answers = replace(pair.answers, data=data)
        found.append(replace(pair, answers=answers, patients=np.arange(COUNT)))
    assert (
        " images accepted of 320 tested), for new images of discs"
        in fit(found, Promise(alpha=0.15)).sentence
    )
    with pytest.raises(ConfigurationError, match=r"320 images to test: .* Take more images, a"):
        fit(found, Promise(alpha=0.001))


def test_a_store_without_measures_says_how_they_are_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = data_record()
    key = cell_key(data, "planted")
    write_cell(Store(tmp_path / "store"), data, key)
    assert typed("fit", tmp_path / "store", "--out", tmp_path / "g.json", "--split", "test") == 1
    assert "command again with dataset.split=test quality=alone" in capsys.readouterr().err


def test_a_sensitivity_is_proven_on_images_of_its_class_alone(folder: Path) -> None:
    words = ("--class", "class 1", "--alpha", "0.3", "--clean-share", "0.9")
    assert typed("fit", folder / "store", "--out", folder / "class.json", *words) == 0
    gate = json.loads((folder / "class.json").read_text())
    assert gate["of_class"] == "class 1"
    assert "images of class 'class 1'" in gate["sentence"]
