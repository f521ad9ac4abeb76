"""Published sets of images and reports: their layouts, sections, texts, labels and gaps."""

import numpy as np
import pytest
from reports import (
    picture,
    write_chexpert_5x200,
    write_mimic,
    write_openi,
    write_padchest,
    write_r2gen,
    write_roco,
)

from medrobust.datasets import CheXpert5x200, MimicCxr, OpenI, PadChest, Roco
from medrobust.datasets.image_set import judged_by
from medrobust.datasets.own.judged import read_texts
from medrobust.datasets.reports.sections import split_sections
from medrobust.exceptions import (
    ConfigurationError,
    DatasetNotFoundError,
    InvalidDataError,
    MedRobustError,
)


def cached(tmp_path, **others):
    return {"root": str(tmp_path / "set"), "cache_dir": str(tmp_path / "cache"), **others}


def texts_of(image_set):
    """The texts of each image, in order."""
    found = [[] for _ in range(len(image_set))]
    for image, text in image_set.target.pairs.tolist():
        found[image].append(str(image_set.target.values[text]))
    return found


def said(image_set):
    return " | ".join(map(str, image_set.findings))


def test_openi_shares_a_report_within_a_study_and_counts_what_has_no_text_or_no_image(tmp_path):
    write_openi(tmp_path / "set")
    found = OpenI(**cached(tmp_path)).load()
    both = "The lungs are clear. Normal chest."
    assert texts_of(found) == [[both], [both], ["A large effusion."], [both]]
    assert found.target.pairs.tolist() == [[0, 0], [1, 0], [2, 1], [3, 2]]
    assert len(set(found.groups.tolist())) == 3
    assert "1 row of test has no report and was left out" in said(found)
    assert "1 report has no image and is left out" in said(found)
    assert not any("CXR" in name for name in found.ids.tolist())


def test_sections_can_be_chosen_and_kept_apart(tmp_path):
    write_openi(tmp_path / "set")
    apart = OpenI(**cached(tmp_path), sections=("impression", "findings"), separate=True).load()
    assert texts_of(apart)[0] == ["Normal chest.", "The lungs are clear."]
    assert texts_of(apart)[2] == ["A large effusion."]
    alone = OpenI(**cached(tmp_path), sections=("impression",)).load()
    assert texts_of(alone) == [["Normal chest."]] * 3
    indication = OpenI(**cached(tmp_path), sections=("indication",)).load()
    assert texts_of(indication)[0] == ["Pain & cough"]


def test_r2gen_brings_its_own_splits_and_texts(tmp_path):
    write_r2gen(tmp_path / "set")
    source = OpenI(**cached(tmp_path), layout="r2gen")
    assert texts_of(source.load()) == [["the heart is normal in size 2 ."]] * 2
    assert texts_of(source.load("train")) == [["the heart is normal in size 0 ."]] * 2
    with pytest.raises(ConfigurationError, match="has no section 'impression'"):
        OpenI(**cached(tmp_path), layout="r2gen", sections=("impression",)).load()


def test_kaggle_joins_reports_and_projections(tmp_path):
    root = tmp_path / "set"
    write_openi(root)
    folder = root / "images" / "images_normalized"
    folder.mkdir(parents=True)
    for file in (root / "NLMCXR_png").glob("CXR1_*.png"):
        (folder / file.name).write_bytes(file.read_bytes())
    names = sorted(file.name for file in folder.iterdir())
    (root / "indiana_projections.csv").write_text(
        "uid,filename,projection\n" + "".join(f"1,{name},Frontal\n" for name in names)
    )
    (root / "indiana_reports.csv").write_text(
        "uid,MeSH,Problems,image,indication,comparison,findings,impression\n"
        '1,normal,normal,Xray,Pain,None.,"Clear, as before.",Normal.\n'
        "2,normal,normal,Xray,Pain,None.,Nothing.,Normal.\n"
    )
    found = OpenI(**cached(tmp_path), layout="kaggle").load()
    assert texts_of(found) == [["Clear, as before. Normal."]] * 2
    assert "1 report has no image" in said(found)


@pytest.mark.parametrize("archive", [True, False])
def test_mimic_takes_one_split_the_sections_and_the_positive_findings(tmp_path, archive):
    write_mimic(tmp_path / "set", archive=archive)
    where = {} if archive else {"reports": "reports"}
    source = MimicCxr(**cached(tmp_path), **where)
    found = source.load()
    assert texts_of(found) == [["Clear lungs. No disease."]] * 2 + [["Edema."]]
    assert len(set(found.groups.tolist())) == 1
    assert "1 row of test has no report" in said(found)
    assert texts_of(source.load("train")) == [["Mass. Mass."]]
    by_labels = judged_by(source, "texts and labels").load()
    assert by_labels.target.labels.tolist() == [0, 0, 1]
    sure = judged_by(
        MimicCxr(**cached(tmp_path), **where, uncertain="positive"), "texts and labels"
    )
    assert sure.load().fingerprint == by_labels.fingerprint
    frontal = MimicCxr(**cached(tmp_path), **where, views=("PA", "AP")).load()
    assert len(frontal) == 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_no_patient_of_mimic_is_in_two_splits_and_no_study_is_lost(tmp_path, seed):
    draw = np.random.default_rng(seed)
    root, names = tmp_path / "set", ("train", "validate", "test")
    rows, where = [], {}
    for subject in draw.choice(np.arange(10_000_000, 20_000_000), 9, replace=False).tolist():
        where[str(subject)] = names[draw.choice(3) if len(where) > 2 else len(where)]
        for study in draw.choice(np.arange(50_000_000, 60_000_000), draw.integers(1, 4)).tolist():
            for view in range(draw.integers(1, 3)):
                rows.append((f"{study}-{subject}-{view}", study, subject, where[str(subject)]))
                place = root / f"files/p{subject // 10**6}/p{subject}/s{study}"
                picture(place / f"{rows[-1][0]}.jpg", len(rows))
                report = root / "reports" / place.relative_to(root).with_suffix(".txt")
                report.parent.mkdir(parents=True, exist_ok=True)
                report.write_text(f"IMPRESSION: Study {study}.")
    lines = [",".join(map(str, row)) for row in draw.permutation(np.array(rows)).tolist()]
    head = "dicom_id,study_id,subject_id,split"
    table = root / "mimic-cxr-2.0.0-split.csv"
    table.write_text("\n".join([head, *lines]))
    splits = {
        name: MimicCxr(**cached(tmp_path), reports="reports").load(name)
        for name in ("train", "val", "test")
    }
    patients = [set(split.groups.tolist()) for split in splits.values()]
    assert sum(map(len, patients)) == len(set.union(*patients)) == len(where)
    assert sum(map(len, splits.values())) == len(rows)
    elsewhere = "test" if rows[0][3] != "test" else "train"
    moved = ",".join(map(str, (*rows[0][:3], elsewhere)))
    table.write_text("\n".join([head, *lines, moved.replace("-0,", "-9,", 1)]))
    with pytest.raises(InvalidDataError, match="1 patient in more than one split") as refused:
        MimicCxr(**cached(tmp_path), reports="reports").load("train")
    assert str(rows[0][2]) not in str(refused.value)


def test_roco_reads_captions_with_gaps_and_the_modality(tmp_path):
    write_roco(tmp_path / "set")
    found = judged_by(Roco(**cached(tmp_path)), "texts and labels").load()
    assert texts_of(found) == [["CT scan, axial; a mass."], ["Chest X-ray showing nodules"]]
    assert found.target.labels.tolist() == [0, 1]
    assert found.groups is None
    assert "1 row of test has no report" in said(found)
    assert found.channels == 3
    with pytest.raises(DatasetNotFoundError, match=r"train_captions.csv not found"):
        Roco(**cached(tmp_path)).load("train")


def test_padchest_reads_sixteen_bits_lists_of_labels_and_projections(tmp_path):
    write_padchest(tmp_path / "set")
    found = judged_by(PadChest(**cached(tmp_path)), "texts and labels").load()
    assert texts_of(found) == [["sin hallazgos ."]] * 2 + [["nodulo derrame ."]]
    assert found.target.pairs.tolist() == [[0, 0], [1, 0], [2, 1]]
    assert found.target.labels.tolist() == [0, 0, 1]
    assert len(PadChest(**cached(tmp_path), projections=("PA",)).load()) == 2
    assert np.ptp(found.images[0]) > 100


def test_chexpert_5x200_gives_classes_and_reports_that_stand_once_an_image(tmp_path):
    write_chexpert_5x200(tmp_path / "set")
    source = CheXpert5x200(**cached(tmp_path))
    found = judged_by(source, "texts and labels").load()
    assert len(found.target.values) == 10
    assert found.target.labels.tolist() == [0, 1, 2, 3, 4] * 2
    classes = judged_by(source, "labels").load()
    assert classes.class_names[0] == "Atelectasis"
    assert classes.labels.tolist() == [0, 1, 2, 3, 4] * 2


def test_chexpert_5x200_without_its_reports_still_has_classes(tmp_path):
    write_chexpert_5x200(tmp_path / "set", reports=False)
    source = CheXpert5x200(**cached(tmp_path))
    assert len(judged_by(source, "labels").load()) == 10
    with pytest.raises(ConfigurationError, match="has no section 'report': it has no texts"):
        source.load()


def test_a_report_that_comes_in_no_order_is_divided_by_its_headings():
    report = "WET READ: ok\n FINAL REPORT\n CLINICAL HISTORY: Fall.\n FINDINGS: A\n\n b: c.\n"
    report += " CONCLUSION: D.\n FINDINGS: E."
    assert split_sections(report) == {
        "wet read": "ok FINAL REPORT",
        "indication": "Fall.",
        "findings": "A b: c. E.",
        "impression": "D.",
    }


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: OpenI(), r"pass dataset.root=<folder of openi>"),
        (lambda root: OpenI(**root, layout="json"), "There are: xml, r2gen, kaggle"),
        (lambda root: OpenI(**root, sections=("finding",)), "Did you mean 'findings'"),
        (lambda root: MimicCxr(**root, split="validate"), "There are: train, val, test"),
        (lambda root: MimicCxr(**root, uncertain="maybe"), "positive, negative"),
        (lambda root: OpenI(**root).check_files(), "Pass dataset.root=<folder>"),
        (lambda root: OpenI(**root).load(), "no image with a report was found"),
        (lambda root: MimicCxr(**root).load(), "mimic-cxr-2.0.0-split.csv not found"),
    ],
)
def test_what_is_missing_or_mistyped_is_said_in_a_sentence(tmp_path, make, message):
    with pytest.raises(MedRobustError, match=message):
        make(cached(tmp_path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<eCitation>", "is no XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "declares a document type"),
    ],
)
def test_a_damaged_report_is_refused_by_name(tmp_path, text, message):
    write_openi(tmp_path / "set")
    (tmp_path / "set" / "ecgen-radiology" / "2.xml").write_text(text)
    with pytest.raises(MedRobustError, match=rf"2.xml {message}"):
        OpenI(**cached(tmp_path)).load()


def test_an_image_of_several_classes_is_refused_with_its_line(tmp_path):
    file = write_chexpert_5x200(tmp_path / "set") / "chexpert_5x200.csv"
    file.write_text(file.read_text().replace("1.0,0.0,0.0,0.0,0.0", "1.0,1.0,0.0,0.0,0.0", 1))
    with pytest.raises(MedRobustError, match="line 2: 2 of the five classes are 1"):
        CheXpert5x200(**cached(tmp_path)).load()


def test_a_long_report_takes_no_memory_for_others() -> None:
    found = read_texts([["Clear."], ["x" * 1_000_000], ["Clear."]], b"key")
    assert found.values.nbytes == 2 * np.dtype(object).itemsize
    assert found.complaint(3, 0) is None
    assert found.arrays()["texts"].dtype.kind == "U"
