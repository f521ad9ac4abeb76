"""`medrobust report STORE`: page, figures and tables from a store alone."""

from collections.abc import Sequence
from pathlib import Path

from .parsing import listed, subcommand_parser

ABOUT = """\
Make a report from a store alone: page, figures, tables.

No model is run and no data set is opened. The folder gets report.html (one file, no outside
requests), results.csv, summary.csv, comparisons.csv, subgroups.csv, their Parquet twins,
matrix.png, figures/ and tables/."""

EXAMPLES = (
    "outputs/store",
    "outputs/store --out outputs/paper --reference clip_vit_b16",
    "outputs/store --corruption gaussian_noise,contrast --severity 3",
)


def main(arguments: Sequence[str]) -> int:
    """Write the report, print its tables and where it is."""
    parser = subcommand_parser("report", ABOUT, *EXAMPLES)
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
    given = parser.parse_args(arguments)
    from medrobust.reporting.from_store import report_store

    report = report_store(
        given.store,
        given.out,
        reference=given.reference,
        reference_prompts=given.reference_prompts,
        models=listed(given.model),
        datasets=listed(given.dataset),
        corruptions=listed(given.corruption),
        severities=listed(given.severity),
        interactive=not given.light,
        examples=given.examples,
        figures=not given.no_figures,
        processes=2,
    )
    report.print()
    print(given.out / "report.html")
    return 0
