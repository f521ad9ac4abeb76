"""Write a whole benchmark as files: any data set, any suite, in one of the published layouts.

    python scripts/make_benchmark.py --out FOLDER dataset=bloodmnist corruption=medmnist_c
    python scripts/make_benchmark.py --out FOLDER --layout medimeta_c dataset.split=val severity=1,3

Takes the overrides of `run.py` that concern data, corruptions, `seed` and `batch_size`. Files are
written one after the other as a stream, so memory stays flat; started again, it keeps those that
are whole. `manifest.json` beside them names what they are made of and the SHA-256 of each.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from medrobust.base.conf_folder import conf_folder
from medrobust.cli import hydra_app as cli
from medrobust.cli import typed as arguments
from medrobust.exceptions import ConfigurationError, MedRobustError


def composed(overrides: list[str]) -> Any:
    """Compose the configuration that the overrides name."""
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException

    rewritten = arguments.rewrite(overrides)
    arguments.check_options(rewritten, arguments.groups([conf_folder()]))
    cli.register_resolvers()
    try:
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            return compose("config", overrides=rewritten)
    except HydraException as error:
        raise ConfigurationError(" ".join(str(error).split())) from error


def make(options: argparse.Namespace, overrides: list[str]) -> None:
    """Write the benchmark of each data set of the configuration."""
    from medrobust.evaluation.benchmark_files import BenchmarkWriter
    from medrobust.evaluation.experiment import AUTOMATIC
    from medrobust.evaluation.plan import built

    config = composed(overrides)
    dataset, corruption = built(config, "dataset"), built(config, "corruption")
    for source in getattr(dataset, "members", (dataset,)):
        columns = corruption.expand(source.suite)
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        ) as progress:
            bar = progress.add_task(source.name)
            writer = BenchmarkWriter(
                options.out,
                options.layout,
                source.load(),
                columns,
                levels=tuple(config.severity.levels),
                seed=config.seed,
                batch_size=AUTOMATIC if config.batch_size == "auto" else config.batch_size,
                compress=not options.store,
                device=options.device,
                advance=lambda count, bar=bar: progress.advance(bar, count),
            )
            parts = sum(len(file.parts) for file in writer.files)
            progress.update(bar, total=parts * len(writer.image_set))
            for file, now in writer.run():
                progress.console.print(f"{file.path}  {'written' if now else 'kept'}")


def main() -> int:
    """Parse the command line and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the benchmark")
    parser.add_argument("--layout", choices=("medmnist_c", "medimeta_c"), default="medmnist_c")
    parser.add_argument("--store", action="store_true", help="do not compress: larger, faster")
    parser.add_argument("--device", default="cpu", help="where images are corrupted (cpu, cuda)")
    options, overrides = parser.parse_known_args()
    try:
        make(options, overrides)
    except MedRobustError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
