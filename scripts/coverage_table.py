"""Print the line and branch coverage of each room, from the JSON that coverage.py writes.

    python scripts/coverage_table.py htmlcov/coverage.json

What `make coverage` ends with.
"""

import json
import sys
from collections import Counter, defaultdict
from pathlib import Path

COUNTS = ("num_statements", "covered_lines", "num_branches", "covered_branches")


def rooms(report: dict) -> dict[str, Counter]:
    """Sum the counts of a report's files by room, all of them last.

    Args:
        report: As `coverage json` writes it: file below the working folder -> summary.
    """
    found = defaultdict(Counter)
    for file, told in sorted(report["files"].items()):
        parts = Path(file).parts
        room = f"{parts[1]}/" if len(parts) > 2 else "beside the rooms"
        for name in (room, "all"):
            found[name].update({count: told["summary"][count] for count in COUNTS})
    found["all"] = found.pop("all")
    return dict(found)


def table(report: dict) -> str:
    """Return the table of rooms as Markdown; shares are rounded down to a tenth of a percent."""
    lines = ["| room | lines | covered | branches | covered |", "|--|--|--|--|--|"]
    for room, count in rooms(report).items():
        statements, lines_hit, branches, taken = (count[name] for name in COUNTS)
        lines.append(
            f"| {room} | {statements:,} | {_share(lines_hit, statements)} | {branches:,} "
            f"| {_share(taken, branches)} |"
        )
    return "\n".join(lines)


def _share(part: int, whole: int) -> str:
    return f"{part * 1000 // whole / 10:.1f} %" if whole else ""


if __name__ == "__main__":
    print(table(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
