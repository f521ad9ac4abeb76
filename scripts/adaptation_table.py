"""Write the tables of a sweep of adaptations into docs/adaptation.md.

    python run.py experiment=adapter_bakeoff hydra.sweep.dir=outputs/bakeoff
    python scripts/adaptation_table.py outputs/bakeoff

The page then says what `adaptation.md` of the sweep's folder says, which the run made from the
cells of the store; `--check` says whether it does.
"""

import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "adaptation.md"
BEGIN, END = "<!-- table: scripts/adaptation_table.py -->", "<!-- end of table -->"


def page_with_tables(page: str, tables: str) -> str:
    """Return the page with other tables between its two markers."""
    head, rest = page.split(BEGIN)
    return f"{head}{BEGIN}\n\n{tables.strip()}\n\n{END}{rest.split(END)[1]}"


def main(arguments: list[str]) -> int:
    """Rewrite the page from a sweep's folder; return the exit status."""
    folders = [argument for argument in arguments if argument != "--check"]
    if len(folders) != 1:
        sys.stderr.write("error: name the folder of one sweep, as hydra.sweep.dir did\n")
        return 1
    tables = Path(folders[0], "adaptation.md")
    if not tables.is_file():
        sys.stderr.write(f"error: there is no {tables}: the sweep has adapted nothing\n")
        return 1
    page = PAGE.read_text(encoding="utf-8")
    fresh = page_with_tables(page, tables.read_text(encoding="utf-8"))
    if "--check" in arguments:
        return int(fresh != page)
    PAGE.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
