"""Write the table of docs/models.md from conf/model.

python scripts/write_model_table.py
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from medrobust.base.conf_folder import BASE, conf_folder, option_files
from medrobust.reporting.contamination import training_lists

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "models.md"
BEGIN, END = "<!-- table: begin (scripts/write_model_table.py) -->", "<!-- table: end -->"
SEEN_BEGIN = "<!-- seen: begin (scripts/write_model_table.py) -->"
SEEN_END = "<!-- seen: end -->"
SEEN = ("`model=`", "known to hold pictures of", "suspected to", "training data without a list")
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


def seen_table() -> str:
    """Write which data sets of the package the training data of each model hold, by their lists."""
    head = [f"| {' | '.join(SEEN)} |", f"|{'--|' * len(SEEN)}"]
    lists = training_lists()
    rows = []
    for name, _, content in entries():
        trained = content["trained_on"]
        if trained:
            kinds = [
                sorted({one for data in trained for one in lists.get(data, {}).get(kind, ())})
                for kind in ("known", "suspected")
            ]
            bare = [d for d in trained if lists.get(d, {}).get("list", "none") == "none"]
            cells = [", ".join(found) or "–" for found in (*kinds, bare)]
            rows.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join([*head, *rows])


def page(text: str) -> str:
    """Return the page with each table between its two marks as it should be."""
    for begin, end, written in ((BEGIN, END, table()), (SEEN_BEGIN, SEEN_END, seen_table())):
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = f"{before}{begin}\n{written}\n{end}{after}"
    return text


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
