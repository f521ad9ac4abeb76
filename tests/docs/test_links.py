"""Every link inside the documentation leads somewhere, also where GitHub shows it."""

import re
from pathlib import Path

import pytest
from pages import FENCE, ROOT, pages

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
NAMES = [page.relative_to(ROOT).as_posix() for page in pages()]


def prose(page: Path) -> str:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    return re.sub(r"`[^`\n]*`", lambda code: code[0].replace("[", "("), text)


def anchors(page: Path) -> set[str]:
    """Anchors of the headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.M):
        slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        number = sum(bool(re.fullmatch(rf"{re.escape(slug)}(-\d+)?", other)) for other in found)
        found.add(f"{slug}-{number}" if number else slug)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(name: str) -> None:
    page = ROOT / name
    wrong = []
    for target in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            assert target.startswith("https://"), target
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or not file.is_relative_to(ROOT):
            wrong.append(target)
        elif anchor and anchor not in anchors(file):
            wrong.append(f"{target}: {path or name} has {', '.join(sorted(anchors(file)))}")
    assert not wrong


def test_the_table_of_contents_names_every_page_and_no_other() -> None:
    docs = ROOT / "docs"
    named = []
    for index in (docs / "index.md", docs / "api" / "index.md"):
        for found in FENCE.finditer(index.read_text(encoding="utf-8")):
            if found["language"] == "{toctree}":
                lines = [line for line in found["text"].splitlines() if line and line[0] != ":"]
                named += [(index.parent / line).relative_to(docs).as_posix() for line in lines]
    there = {page.relative_to(docs).as_posix()[:-3] for page in docs.rglob("*.md")} - {"index"}
    assert len(named) == len(set(named))
    assert set(named) == there


def test_the_gallery_shows_every_corruption_that_can_be_named() -> None:
    text = (ROOT / "docs" / "corruptions.md").read_text(encoding="utf-8")
    suites = {"all", "clean", "medmnist_c", "medimeta_c", "medimeta_c_and_registry"}
    suites |= {
        "occlusion_fills",
        "local_change",
        "mri_physics",
        "xray_physics",
        "ultrasound_physics",
        "physics",
    }
    suites |= {"histopathology_physics", "ct_physics", "fundus_physics"}
    suites |= {"endoscopy_physics", "dermatoscopy_physics"}
    suites |= {"crop_shift", "crop_wide", "crop_tight"}  # of windows: they change no pixel
    suites |= {"roodmri", "histopathology_c", "medfm_robust"}
    names = {file.stem for file in (ROOT / "conf" / "corruption").glob("*.yaml")} - suites
    sheet = {"other_benchmarks"}  # of corruptions that suites alone have
    shown = set(re.findall(r"\(images/corruptions/(\w+)\.jpg\)", text))
    assert {name for name in names if not name.startswith("imagenet_c")} == shown - sheet
