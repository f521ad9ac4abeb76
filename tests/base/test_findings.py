"""Findings are data: what is kept of them comes back, sentences of release 0.1 included."""

import json

import pytest

from medrobust.base.findings import TOPICS, Finding, read_finding

FOUND = (
    Finding("label order", "label order of pbc: robustmedclip, as asked for"),
    Finding("repeated images", "2 images of test nearly repeat one of val", ("0=7", "1=8")),
    Finding("repeated images", "6 images of a/test nearly repeat one of b/val",
            ("0=1", "2=3", "4=5", "6=7", "8=9", "…"), "id=row"),
    Finding("repeated images", "bloodmnist and pbc hold the same 17,092 blood cells"),
    Finding("patients in two splits", "1 patient is in two splits: train (1 image) and test (9)"),
    Finding("DICOM window", "3 images: no usable window in the header: its VOI table was used",
            audit_only=True),
    Finding("files not in the table", "2 files in the folder are not in the table: left out"),
    Finding("further remarks", "subset of 24 of 80 images (of the whole)"),
)  # fmt: skip


@pytest.mark.parametrize("found", FOUND, ids=lambda found: found.topic)
def test_what_a_json_file_keeps_comes_back(found: Finding) -> None:
    assert read_finding(json.loads(json.dumps(found.record()))) == found


@pytest.mark.parametrize("found", FOUND, ids=lambda found: found.topic)
def test_a_sentence_of_the_first_release_is_read_as_what_is_found_today(found: Finding) -> None:
    assert read_finding(str(found)) == found


def test_topics_are_told_by_who_finds_not_by_words() -> None:
    named = Finding("files passed over", "2 files were passed over: label order/repeat.dcm")
    assert read_finding(named.record()).topic == "files passed over"


@pytest.mark.parametrize(
    "kept",
    [
        3,
        None,
        {"topic": TOPICS[0]},
        {"topic": "else", "sentence": "s"},
        {"topic": TOPICS[0], "sentence": 3},
        {"topic": TOPICS[0], "sentence": "s", "pairs": [1]},
        {"topic": TOPICS[0], "sentence": "s", "audit_only": "yes"},
        {"topic": TOPICS[0], "sentence": "s", "more": 1},
    ],
)
def test_what_is_no_finding_is_refused(kept: object) -> None:
    with pytest.raises(TypeError):
        read_finding(kept)
