"""Write the table of docs/models.md from conf/model.

python scripts/write_model_table.py
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from medrobust.base.conf_folder import BASE, conf_folder, option_files

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "models.md"
BEGIN, END = "<!-- table: begin (scripts/write_model_table.py) -->", "<!-- table: end -->"
COLUMNS = ("`model=`", "what it is", "pixels", "license", "trained on", "source", "loader")


def entries() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield name, headline and content of every file of conf/model that states a license."""
    for path in option_files(conf_folder(), "model"):
        text = path.read_text(encoding="utf-8")
        comments = [line.removeprefix("#").strip() for line in text.splitlines() if line[:1] == "#"]
        headline = next(line for line in comments if not line.startswith("@package"))
        content = with_bases(path).get("model", {})
        if "license" in content:
            yield path.stem, headline, content


def with_bases(path: Path) -> dict[str, Any]:
    """Read a file of conf/model, laid over what it is built on."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    named = [name for name in content.get("defaults", ()) if name != "_self_"]
    bases = [name for name in named if str(name).startswith(BASE)]
    below: dict[str, Any] = {}
    for name in bases:
        below |= with_bases(path.with_name(f"{name}.yaml")).get("model", {})
    return {**content, "model": below | content["model"]} if bases else content


def line(name: str, headline: str, content: dict[str, Any]) -> str:
    """Write one row."""
    what = headline.rpartition(" (")[0] or headline
    gate = ", on request" if content["gated"] else ""
    cells = (
        f"`{name}`",
        what,
        str(content["resolution"] or "as its files say"),
        content["license"] + gate,
        ", ".join(content["trained_on"]) or "–",
        f"`{content['hub_id']}`" if content["hub_id"] else content.get("origin", "yours"),
        content["_target_"].rpartition(".")[2],
    )
    return f"| {' | '.join(cells)} |"


def table() -> str:
    """Write the whole table."""
    head = [f"| {' | '.join(COLUMNS)} |", f"|{'--|' * len(COLUMNS)}"]
    return "\n".join([*head, *(line(*entry) for entry in entries())])


def page(text: str) -> str:
    """Return the page with the table between its two marks as it should be."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def main() -> int:
    """Write the page if it has changed."""
    text = PAGE.read_text(encoding="utf-8")
    new = page(text)
    if new != text:
        PAGE.write_text(new, encoding="utf-8")
        print(f"{PAGE.relative_to(ROOT)} written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
