"""Tiny sets of images and reports in exactly the published layouts."""

import gzip
import json
from pathlib import Path
from zipfile import ZipFile

import numpy as np
from PIL import Image

XML = """<?xml version="1.0" encoding="utf-8"?>
<eCitation><meta type="rr"/><uId id="CXR{n}"/><MedlineCitation Owner="Indiana University">
<Article><Abstract>
<AbstractText Label="COMPARISON">None.</AbstractText>
<AbstractText Label="INDICATION">Pain &amp; cough</AbstractText>
<AbstractText Label="FINDINGS">{findings}</AbstractText>
<AbstractText Label="IMPRESSION">{impression}</AbstractText>
</Abstract></Article></MedlineCitation>
<MeSH><major>{mesh}</major></MeSH>
{images}</eCitation>
"""

MIMIC = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___F with cough  // pneumonia?

 FINDINGS:

 {findings}

 IMPRESSION:

 {impression}
"""


def picture(file: Path, seed: int, mode: str = "L") -> None:
    """Write a small picture of its own."""
    file.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 256, (40, 48)).astype(np.uint8)
    if mode == "I;16":
        Image.fromarray(values.astype(np.uint16) * 200).save(file)
    else:
        Image.fromarray(values).convert(mode).save(file)


def packed(file: Path, text: str) -> None:
    """Write a text packed by gzip."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress(text.encode()))


def write_openi(root: Path) -> Path:
    """Five reports: of two images; of one; equal to the first; without text; without an image."""
    said = [
        ("The lungs are clear.", "Normal chest.", 2, "normal"),
        ("A large effusion.", "", 1, "Pleural Effusion/left"),
        ("The lungs are clear.", "Normal chest.", 1, "normal"),
        ("", "", 1, "normal"),
        ("Nodule.", "Nodule.", 0, "Nodule"),
    ]
    for n, (findings, impression, count, mesh) in enumerate(said, start=1):
        names = [f"CXR{n}_IM-000{n}-{place}001" for place in range(1, count + 1)]
        images = "".join(f'<parentImage id="{name}"><panel/></parentImage>\n' for name in names)
        file = root / "ecgen-radiology" / f"{n}.xml"
        file.parent.mkdir(parents=True, exist_ok=True)
        given = {"n": n, "findings": findings, "impression": impression, "mesh": mesh}
        file.write_text(XML.format(**given, images=images), encoding="utf-8")
        for place, name in enumerate(names):
            picture(root / "NLMCXR_png" / f"{name}.png", 10 * n + place)
    return root


def write_r2gen(root: Path) -> Path:
    """One study a split, each of two images."""
    content = {}
    for n, split in enumerate(("train", "val", "test")):
        study = f"CXR{n}_IM-000{n}"
        paths = [f"{study}/{place}.png" for place in (0, 1)]
        report = f"the heart is normal in size {n} ."
        content[split] = [{"id": study, "report": report, "image_path": paths, "split": split}]
        for place, path in enumerate(paths):
            picture(root / "images" / path, 10 * n + place)
    root.mkdir(parents=True, exist_ok=True)
    (root / "annotation.json").write_text(json.dumps(content))
    return root


def write_mimic(root: Path, *, archive: bool = True) -> Path:
    """Test: a study of two views, one with impression alone, one without a report; one in train."""
    studies = {  # study: subject, split, views, findings, impression, its labels
        "50000001": ("10000032", "test", ("PA", "LATERAL"), "Clear lungs.", "No disease.", "1.0,,"),
        "50000002": ("10000032", "test", ("AP",), "", "Edema.", ",1.0,-1.0"),
        "50000003": ("11000033", "test", ("AP",), None, None, ",,"),
        "50000004": ("12000034", "train", ("PA",), "Mass.", "Mass.", ",1.0,0.0"),
    }
    split, metadata = "dicom_id,study_id,subject_id,split\n", "dicom_id,subject_id,ViewPosition\n"
    labels = "subject_id,study_id,No Finding,Edema,Pneumonia\n"
    reports = {}
    for study, (subject, of, views, findings, impression, flags) in studies.items():
        place = f"files/p{subject[:2]}/p{subject}/s{study}"
        labels += f"{subject},{study},{flags}\n"
        if findings is not None:
            reports[f"{place}.txt"] = MIMIC.format(findings=findings, impression=impression)
        for number, view in enumerate(views):
            dicom = f"{study}-aa{number}"
            split += f"{dicom},{study},{subject},{of}\n"
            metadata += f"{dicom},{subject},{view}\n"
            picture(root / place / f"{dicom}.jpg", int(study[-2:]) + number)
    for name, text in (("split", split), ("metadata", metadata), ("chexpert", labels)):
        packed(root / f"mimic-cxr-2.0.0-{name}.csv.gz", text)
    if archive:
        with ZipFile(root / "mimic-cxr-reports.zip", "w") as file:
            for place, text in reports.items():
                file.writestr(place, text)
    else:
        for place, text in reports.items():
            target = root / "reports" / place
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
    return root


def write_roco(root: Path) -> Path:
    """Three captions, one of them empty, with a gap in the ids as published."""
    rows = [("000001", "CT scan, axial; a mass.", "C0040405;C0817096"), ("000003", "", "C0024485")]
    rows.append(("000004", "Chest X-ray showing nodules", "C1306645"))
    root.mkdir(parents=True, exist_ok=True)
    captions, concepts = "ID,Caption\n", "ID,CUIs\n"
    for number, caption, cuis in rows:
        name = f"ROCOv2_2023_test_{number}"
        captions += f'{name},"{caption}"\n'
        concepts += f"{name},{cuis}\n"
        picture(root / "test" / f"{name}.jpg", int(number), "RGB")
    (root / "test_captions.csv").write_text(captions)
    (root / "test_concepts_manual.csv").write_text(concepts)
    return root


def write_padchest(root: Path) -> Path:
    """Two studies, one of two images; 16 bits."""
    rows = [
        ("1_a.png", "0", "S1", "P1", "PA", "['normal', 'normal']", "sin hallazgos ."),
        ("1_b.png", "0", "S1", "P1", "L", "['normal']", "sin hallazgos ."),
        ("2_a.png", "17", "S2", "P2", "PA", "['nodule', 'pleural effusion ']", "nodulo derrame ."),
    ]
    names = "ImageID,ImageDir,StudyID,PatientID,Projection,Labels,Report"
    lines = [names] + [",".join([*row[:5], f'"{row[5]}"', row[6]]) for row in rows]
    root.mkdir(parents=True, exist_ok=True)
    file = root / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    for seed, row in enumerate(rows):
        picture(root / row[1] / row[0], seed, "I;16")
    return root


def write_chexpert_5x200(root: Path, *, reports: bool = True, each: int = 2) -> Path:
    """Some images of each class, with the columns of GLoRIA's list."""
    classes = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
    lines = [",".join(["Path", *classes, *(["Report Impression"] if reports else [])])]
    for row in range(5 * each):
        path = f"CheXpert-v1.0/train/patient{row:05d}/study1/view1_frontal.jpg"
        flags = ["1.0" if row % 5 == place else "0.0" for place in range(5)]
        said = [f"{classes[row % 5].lower()}."] if reports else []
        lines.append(",".join([path, *flags, *said]))
        picture(root / path, row)
    root.mkdir(parents=True, exist_ok=True)
    (root / "chexpert_5x200.csv").write_text("\n".join(lines) + "\n")
    return root
