"""Write the table of published sets into docs/datasets.md, from the facts in the package."""

import sys
from pathlib import Path

from medrobust.datasets.published.medimeta_facts import FACTS as MEDIMETA
from medrobust.datasets.published.medmnist_facts import FACTS as MEDMNIST

PAGE = Path(__file__).resolve().parent.parent / "docs" / "datasets.md"
BEGIN, END = "<!-- table: scripts/dataset_table.py -->", "<!-- end of table -->"


def table() -> str:
    """Return the table as Markdown."""
    lines = [
        "| `dataset=` | shows | task | channels | train / val / test | license |",
        "|--|--|--|--|--|--|",
    ]
    for flag, facts in sorted(MEDMNIST.items()):
        task = f"{facts.label_kind}, {len(facts.class_names)} classes"
        lines.append(_row(flag, facts.modality, task, facts.channels, facts.counts, facts.license))
    for flag, meta in sorted(MEDIMETA.items()):
        lines.append(
            _row(flag, meta.modality, meta.task_name, meta.channels, meta.counts, meta.license)
        )
    return "\n".join(lines)


def _row(
    name: str, shows: str, task: str, channels: int, counts: tuple[int, int, int], license_: str
) -> str:
    images = " / ".join(f"{count:,}" for count in counts)
    return f"| `{name}` | {shows} | {task} | {channels} | {images} | {license_} |"


def page_with_table(page: str) -> str:
    """Return the page with a fresh table between its two markers."""
    head, rest = page.split(BEGIN)
    tail = rest.split(END)[1]
    return f"{head}{BEGIN}\n\n{table()}\n\n{END}{tail}"


def main() -> int:
    """Rewrite the page; with `--check`, say whether it is current."""
    page = PAGE.read_text(encoding="utf-8")
    fresh = page_with_table(page)
    if "--check" in sys.argv[1:]:
        return int(fresh != page)
    PAGE.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
