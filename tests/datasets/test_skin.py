"""Five sets of skin lesions in their published layouts: classes, patients, metadata, and splits."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from datasets import write_table
from PIL import Image

from medrobust.datasets import SkinLesions
from medrobust.datasets.published.skin import SHARES, split_of
from medrobust.datasets.published.skin_layouts import FACTS
from medrobust.exceptions import (
    ConfigurationError,
    DatasetNotFoundError,
    InvalidDataError,
    UnknownNameError,
)

COUNT = 30


def picture(file: Path, number: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (20, 24, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(file)


def write_ham10000(folder: Path) -> None:
    rows = []
    for n in range(COUNT):
        name = f"ISIC_{24306 + n:07d}"
        picture(folder / f"HAM10000_images_part_{1 + n % 2}/{name}.jpg", n)
        rows.append(
            {"lesion_id": f"HAM_{n // 2:07d}", "image_id": name,
             "dx": tuple(FACTS["ham10000"].classes)[n // 2 % 7],
             "dx_type": ("histo", "follow_up")[n % 2],
             "age": ("", "45.0", "80.0")[n % 3], "sex": ("male", "female", "unknown")[n % 3],
             "localization": "back"}
        )  # fmt: skip
    write_table(folder / "HAM10000_metadata.csv", rows)


def write_isic_2019(folder: Path) -> None:
    truth, told = [], []
    names = [*FACTS["isic_2019"].classes, "UNK"]
    for n in range(COUNT):
        name = f"ISIC_{n:07d}" + "_downsampled" * (n == 3)
        picture(folder / f"ISIC_2019_Training_Input/{name}.jpg", n)
        truth.append({"image": name} | {k: f"{float(k == names[n // 2 % 8])}" for k in names})
        lesion = "" if n < 4 else f"BCN_{n // 2:07d}"
        told.append(
            {"image": name, "age_approx": "50.0", "anatom_site_general": "anterior torso",
             "lesion_id": lesion, "sex": "female"}
        )  # fmt: skip
    write_table(folder / "ISIC_2019_Training_GroundTruth.csv", truth)
    write_table(folder / "ISIC_2019_Training_Metadata.csv", told[::-1])


def write_isic_2020(folder: Path) -> None:
    rows = []
    for n in range(COUNT):
        name = f"ISIC_{n:07d}"
        picture(folder / f"train/{name}.jpg", n)
        rows.append(
            {"image_name": name, "patient_id": f"IP_{n // 3:07d}", "sex": "male",
             "age_approx": "30.0", "anatom_site_general_challenge": "torso", "diagnosis": "unknown",
             "benign_malignant": ("benign", "malignant")[n % 5 == 0], "target": int(n % 5 == 0)}
        )  # fmt: skip
    write_table(folder / "train.csv", rows)


def write_pad_ufes_20(folder: Path) -> None:
    rows = []
    for n in range(COUNT):
        patient, lesion = n // 3, n // 2
        name = f"PAT_{patient}_{lesion}_{n}.png"
        picture(folder / f"imgs_part_{1 + n % 3}/{name}", n)
        kind = ("BCC", "SCC", "ACK", "SEK", "BOD", "MEL", "NEV")[n % 7]
        rows.append(
            {"patient_id": f"PAT_{patient}", "lesion_id": lesion, "smoke": "", "age": 55,
             "fitspatrick": ("", "1.0", "5.0")[n % 3], "region": "FACE", "gender": "FEMALE",
             "diagnostic": kind, "biopsed": "True", "img_id": name}
        )  # fmt: skip
    write_table(folder / "metadata.csv", rows)


def write_ddi(folder: Path) -> None:
    rows = []
    for n in range(COUNT):
        picture(folder / f"{n:06d}.png", n)
        rows.append(
            {"": n, "DDI_ID": n + 1, "DDI_file": f"{n:06d}.png", "skin_tone": (12, 34, 56)[n % 3],
             "malignant": str(n % 4 == 0), "disease": "melanoma"}
        )  # fmt: skip
    write_table(folder / "ddi_metadata.csv", rows)


WRITERS: dict[str, Callable[[Path], None]] = {
    "ham10000": write_ham10000,
    "isic_2019": write_isic_2019,
    "isic_2020": write_isic_2020,
    "pad_ufes_20": write_pad_ufes_20,
    "ddi": write_ddi,
}


def skin(folder: Path, name: str, **options: object) -> SkinLesions:
    given = {"set": name, "name": name, "root": str(folder), "size": 32, "fit": "crop"}
    return SkinLesions(**(given | {"cache_dir": str(folder / "cache")} | options))


@pytest.mark.parametrize("name", WRITERS)
def test_a_set_is_read_in_its_published_layout_with_no_patient_in_two_splits(
    tmp_path: Path, name: str
) -> None:
    WRITERS[name](tmp_path)
    facts = FACTS[name]
    splits = {split: skin(tmp_path, name).load(split) for split in SHARES}
    assert sum(map(len, splits.values())) == COUNT
    for split, found in splits.items():
        assert found.class_names == tuple(facts.classes)
        assert found.prompt_names == tuple(facts.classes.values())
        assert found.metadata_columns == tuple(facts.metadata)
        assert found.license == facts.license
        for other in SHARES:
            if other != split:
                assert not set(found.groups) & set(splits[other].groups)
    told = any("are not published" in mark for mark in splits["test"].marks)
    assert told == (facts.group != "patient")


def table_of(name: str, folder: Path) -> list[dict[str, str]]:
    table = FACTS[name].read(folder)
    return [
        dict(zip(table.columns, row, strict=True))
        for row in zip(*table.columns.values(), strict=True)
    ]


def test_labels_lesions_and_metadata_are_those_of_the_tables(tmp_path: Path) -> None:
    for name, write in WRITERS.items():
        write(tmp_path / name)
    found = {name: table_of(name, tmp_path / name) for name in WRITERS}
    assert found["ham10000"][3] == {
        "path": "HAM10000_images_part_2/ISIC_0024309.jpg", "label": "bcc", "patient": "HAM_0000001",
        "sex": "male", "localization": "back", "dx_type": "follow_up", "age": "",
    }  # fmt: skip
    assert found["isic_2019"][3]["path"].endswith("ISIC_0000003_downsampled.jpg")
    assert [found["isic_2019"][n]["label"] for n in (0, 2, 15)] == ["MEL", "NV", "SCC"]
    lone = [row["patient"] for row in found["isic_2019"][:6]]
    assert len(set(lone)) == 5, "images without a lesion stand alone"
    assert [found["isic_2020"][n]["label"] for n in (0, 1)] == ["1", "0"]
    assert [found["pad_ufes_20"][n]["label"] for n in (1, 4)] == ["SCC", "SCC"]
    assert [found["pad_ufes_20"][n]["fitzpatrick"] for n in range(3)] == ["", "1", "5"]
    assert [found["ddi"][n]["fitzpatrick"] for n in range(3)] == ["I-II", "III-IV", "V-VI"]
    assert [found["ddi"][n]["label"] for n in range(2)] == ["true", "false"]


@pytest.mark.parametrize("seed", range(10))
def test_groups_are_never_parted_whatever_else_a_table_holds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = [f"p{number}" for number in rng.integers(0, 400, 2000)]
    splits = split_of(groups, seed)
    whole = dict(zip(groups, splits, strict=True))
    assert [whole[group] for group in groups] == splits
    shares = [list(whole.values()).count(split) / len(whole) for split in SHARES]
    np.testing.assert_allclose(shares, list(SHARES.values()), atol=0.08)
    order = rng.permutation(2000)[:700]
    assert split_of([groups[row] for row in order], seed) == [splits[row] for row in order]


def test_wrong_layouts_are_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"has no ddi_metadata.csv"):
        skin(tmp_path, "ddi").check_files()
    write_isic_2019(tmp_path)
    file = tmp_path / "ISIC_2019_Training_GroundTruth.csv"
    with file.open() as stream:
        rows = list(csv.DictReader(stream))
    rows[4] |= {"MEL": "1.0", "NV": "1.0", "BCC": "0.0"}
    write_table(file, rows)
    with pytest.raises(InvalidDataError, match="line 6: an image has one class, not 2"):
        skin(tmp_path, "isic_2019").load()
    told = tmp_path / "ISIC_2019_Training_Metadata.csv"
    told.write_text("\n".join(told.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(InvalidDataError, match="has no row for 'ISIC_0000000'"):
        skin(tmp_path, "isic_2019").load()
    (tmp_path / "metadata.csv").write_text("img_id,patient_id\nPAT_1_1_1.png,PAT_1\n")
    with pytest.raises(InvalidDataError, match="no column 'diagnostic'"):
        skin(tmp_path, "pad_ufes_20").load()


def test_wrong_choices_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="isic_2018"):
        skin(tmp_path, "isic_2018")
    with pytest.raises(UnknownNameError, match="split"):
        skin(tmp_path, "ddi", split="dev")
    with pytest.raises(ConfigurationError, match=r"dataset.root"):
        skin(tmp_path, "ddi", root=None)
