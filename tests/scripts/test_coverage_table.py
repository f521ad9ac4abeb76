"""The table of line and branch coverage, from the JSON of coverage.py."""

import runpy
from pathlib import Path

TABLE = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "coverage_table.py"))["table"]


def summary(lines: int, hit: int, branches: int, taken: int) -> dict[str, dict[str, int]]:
    values = (lines, hit, branches, taken)
    names = ("num_statements", "covered_lines", "num_branches", "covered_branches")
    return {"summary": dict(zip(names, values, strict=True))}


def test_rooms_are_summed_over_their_files_and_shares_are_never_rounded_up():
    files = {
        "medrobust/metrics/one.py": summary(1000, 999, 10, 9),
        "medrobust/metrics/two.py": summary(1000, 1000, 30, 30),
        "medrobust/keys.py": summary(10, 5, 0, 0),
    }
    assert TABLE({"files": files}).splitlines()[2:] == [
        "| beside the rooms | 10 | 50.0 % | 0 |  |",
        "| metrics/ | 2,000 | 99.9 % | 40 | 97.5 % |",
        "| all | 2,010 | 99.7 % | 40 | 97.5 % |",
    ]
