"""Make a report from a store alone: page, figures, tables.

    python scripts/report.py outputs/store
    python scripts/report.py outputs/store --out outputs/paper --reference clip_vit_b16
    python scripts/report.py outputs/store --corruption gaussian_noise,contrast --severity 3

No model is run and no data set is opened. The folder gets report.html (one file, no outside
requests), results.csv, summary.csv, comparisons.csv, subgroups.csv, their Parquet twins,
matrix.png, figures/ and tables/.
"""

import argparse
import sys
from pathlib import Path

from medrobust.exceptions import MedRobustError
from medrobust.reporting.from_store import report_store


def names(given: list[str]) -> list[str]:
    """Take lists apart: every name once, in the order given."""
    parts = (name.strip() for text in given for name in text.split(","))
    return [name for name in dict.fromkeys(parts) if name]


def main() -> int:
    """Parse the arguments, write the report, print where it is."""
    parser = argparse.ArgumentParser(description="Make a report from a store alone.")
    parser.add_argument("store", type=Path, help="folder of the store (store.dir)")
    parser.add_argument("--out", type=Path, default=Path("outputs/report"), help="where it goes")
    parser.add_argument("--reference", help="model whose errors normalise CE and mCE")
    parser.add_argument("--reference-prompts", help="prompt set of the reference, of several")
    for name, what in (
        ("model", "models"),
        ("dataset", "data sets"),
        ("corruption", "corruptions or suites, by the names that a run takes; or clean"),
        ("severity", "severities"),
    ):
        parser.add_argument(
            f"--{name}", action="append", default=[], help=f"only these {what}: A,B (repeatable)"
        )
    parser.add_argument("--light", action="store_true", help="leave plotly (5 MB) out of the page")
    parser.add_argument("--no-figures", action="store_true", help="leave figures/ out")
    parser.add_argument(
        "--examples", action="store_true", help="show pictures of own data that the store has"
    )
    given = parser.parse_args()
    try:
        report = report_store(
            given.store,
            given.out,
            reference=given.reference,
            reference_prompts=given.reference_prompts,
            models=names(given.model),
            datasets=names(given.dataset),
            corruptions=names(given.corruption),
            severities=names(given.severity),
            interactive=not given.light,
            examples=given.examples,
            figures=not given.no_figures,
            processes=2,
        )
    except MedRobustError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    report.print()
    print(given.out / "report.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
