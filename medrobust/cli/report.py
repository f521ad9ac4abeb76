"""`medrobust report STORE`: page, figures and tables from a store alone."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medrobust.exceptions import ConfigurationError

from .parsing import add_overrides, as_typed, check_out_folder, listed, subcommand_parser

if TYPE_CHECKING:
    from medrobust.readings.aggregation import Aggregation
    from medrobust.reporting.joined_metadata import JoinedMetadata

OVERRIDES = ("aggregate=", "aggregate.", "dataset=", "dataset.", "readings=", "readings.")
"""How the keys of a run begin that a report takes."""

ABOUT = """\
Make a report from a store alone: page, figures, tables.

No model is run and no data set is opened. The folder gets report.html (one file, no outside
requests), results.csv, summary.csv, comparisons.csv, subgroups.csv, their Parquet twins,
matrix.png, figures/ and tables/. With aggregate=patient, tables of patients stand beside those of
their images. With dataset=folder dataset.csv=TABLE dataset.metadata_columns=[...], columns of own
data that came later than the cells make subgroups; only the table is read, not the pictures.
With readings=selective,calibration,conformal, what cells say further."""

EXAMPLES = (
    "outputs/store",
    "outputs/store --out outputs/paper --reference clip_vit_b16",
    "outputs/store --corruption gaussian_noise,contrast --severity 3",
    "outputs/store aggregate=patient aggregate.how=noisy_or",
    "outputs/store dataset=folder dataset.csv=labels.csv 'dataset.metadata_columns=[age]' "
    "'dataset.bins={age: [40,60]}'",
    "outputs/store readings=selective,conformal readings.conformal.alpha=0.05",
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
    add_overrides(parser, "aggregate=... dataset=... readings=...")
    given = parser.parse_intermixed_args(arguments)
    check_out_folder(given.out)
    aggregations, metadata, readings = _asked(as_typed(given), given.overrides)
    from medrobust.reporting.from_store import report_store

    from .cells_command import CellsCommand

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
        aggregations=aggregations,
        metadata=metadata,
        readings=readings,
        command=shlex.join(["medrobust", "report", *arguments]),
        making=CellsCommand(given.store, as_typed(given)),
    )
    report.print()
    print(given.out / "report.html")
    return 0


def _asked(
    typed: Sequence[str], overrides: Sequence[str]
) -> "tuple[list[Aggregation], list[JoinedMetadata], dict[str, Any]]":
    """Build what `aggregate=...`, `dataset=...` and `readings=...` ask for, as a run does.

    Raises:
        ConfigurationError: If another key is given, or the data set is none of own data.
    """
    if not overrides:
        return [], [], {}
    strange = [word for word in overrides if not word.startswith(OVERRIDES)]
    if strange:
        raise ConfigurationError(
            f"a report takes no {strange[0]!r}: of the keys of a run it takes aggregate=..., "
            f"dataset=... and readings=... alone."
        )
    from medrobust.evaluation.building import built, resolved
    from medrobust.readings.lookup import check_values

    from .hydra_app import composed

    config = composed(typed)
    if config.get("readings"):
        check_values(resolved(config.readings))
    of_data = tuple(word for word in overrides if word.startswith("dataset"))
    return (
        [built(config, "aggregate")] if config.get("aggregate") else [],
        [_metadata(built(config, "dataset"), of_data)] if of_data else [],
        built(config, "readings") if config.get("readings") else {},
    )


def _metadata(source: Any, words: tuple[str, ...]) -> "JoinedMetadata":
    """Read the metadata columns of a table; no picture is opened.

    Raises:
        ConfigurationError: If the data set has no table of one's own.
    """
    from medrobust.datasets.own.source import OwnData
    from medrobust.reporting.joined_metadata import JoinedMetadata

    if not isinstance(source, OwnData):
        raise ConfigurationError(
            f"a report joins metadata of own data alone (dataset=folder, dataset=dicom), and "
            f"{source.name!r} is none."
        )
    splits = {split: source.metadata_of(split) for split in source.splits_in_table()}
    return JoinedMetadata(source.name, source.kept_columns, splits, words)
