"""`medrobust benchmark-files --out FOLDER ...`: corrupted images in a published layout."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medrobust.exceptions import ConfigurationError

from .parsing import add_overrides, as_typed, check_out_folder, subcommand_parser

ABOUT = """\
Write a whole benchmark as files: any data set, any suite, in one of the published layouts.

Takes the overrides of a run that concern data, corruptions, `seed` and `batch_size`. Files are
written one after the other as a stream, so memory stays flat; started again, it keeps those that
are whole. `manifest.json` beside them names what they are made of and the SHA-256 of each."""

EXAMPLES = (
    "--out FOLDER dataset=bloodmnist corruption=medmnist_c",
    "--out FOLDER --layout medimeta_c dataset.split=val severity=1,3",
)


def main(arguments: Sequence[str]) -> int:
    """Write the benchmark of each data set of the configuration."""
    parser = subcommand_parser("benchmark-files", ABOUT, *EXAMPLES)
    parser.add_argument("--out", type=Path, required=True, help="folder of the benchmark")
    parser.add_argument("--layout", choices=("medmnist_c", "medimeta_c"), default="medmnist_c")
    parser.add_argument("--store", action="store_true", help="do not compress: larger, faster")
    parser.add_argument("--device", default="cpu", help="where images are corrupted (cpu, cuda)")
    add_overrides(parser, "dataset=...|corruption=...")
    given = parser.parse_intermixed_args(list(arguments))
    check_out_folder(given.out)
    from medrobust.corruptions.modality import modality_of
    from medrobust.evaluation.building import built

    from .hydra_app import composed

    config = composed(as_typed(given))
    if "equalise" in config.severity:
        raise ConfigurationError(
            "files of a benchmark hold published severities: leave severity=ssim and 2.5 out."
        )
    dataset, corruption = built(config, "dataset"), built(config, "corruption")
    for source in getattr(dataset, "members", (dataset,)):
        write(source, corruption.expand(source.suite, modality_of(source)), config, given)
    return 0


def write(source: Any, columns: Any, config: Any, given: Namespace) -> None:
    """Write the files of one data set, with a bar that advances by images."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from medrobust.evaluation.benchmark_files import BenchmarkWriter
    from medrobust.evaluation.experiment import AUTOMATIC
    from medrobust.evaluation.header_check import check_headers

    image_set = source.load()
    check_headers(columns, image_set)
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    ) as progress:
        bar = progress.add_task(source.name)
        writer = BenchmarkWriter(
            given.out,
            given.layout,
            image_set,
            columns,
            levels=tuple(config.severity.levels),
            seed=config.seed,
            batch_size=AUTOMATIC if config.batch_size == "auto" else config.batch_size,
            compress=not given.store,
            device=given.device,
            advance=lambda count: progress.advance(bar, count),
        )
        parts = sum(len(file.parts) for file in writer.files)
        progress.update(bar, total=parts * len(writer.image_set))
        for file, now in writer.run():
            progress.console.print(f"{file.path}  {'written' if now else 'kept'}")
