"""Say what may be wrong with data sets: `python scripts/audit_data.py bloodmnist pbc`.

Names are those of conf/dataset (a collection stands for its members); overrides as on the command
line of run.py follow, `dataset.root=data` for one. For each set: splits, classes and their shares,
how counts fit the known label orders, classes without images, patients in more than one split,
pictures that repeat others; for several sets also pictures that they share. Runs look for repeated
pictures by themselves, but not in what is very large or not unpacked yet; this looks at all of it.
What is found is kept in the cache, and later tables of these sets carry it.

    python scripts/audit_data.py folder dataset.csv=DATA/labels.csv --key DATA/.medrobust_key

prints no audit but a CSV table from the hashes that the store knows to files and patients, for
whoever holds the key of the data: keep that table where the data is.
"""

import argparse
import csv
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

from medrobust.base.conf_folder import conf_folder
from medrobust.cli.hydra_app import composed
from medrobust.datasets.audits.of_sets import Audit, audit, between_sets
from medrobust.datasets.cache import cache_of
from medrobust.datasets.own.pseudonyms import read_key
from medrobust.evaluation.plan import built
from medrobust.exceptions import ConfigurationError, MedRobustError, unknown_name


def sources(name: str, overrides: list[str]) -> list[Any]:
    """Build the sources of one option of conf/dataset.

    Raises:
        UnknownNameError: If there is no such option; names the nearest.
        MedRobustError: As building it raises it.
    """
    options = sorted(file.stem for file in (conf_folder() / "dataset").glob("*.yaml"))
    if name not in options:
        raise unknown_name("data set", name, options)
    dataset = built(composed([f"dataset={name}", *overrides]), "dataset")
    return list(getattr(dataset, "members", (dataset,)))


def print_audit(report: Audit) -> None:
    """Print one report: facts, then findings."""
    print(f"\n{report.name}")
    for fact in report.facts:
        print(f"  {fact}")
    if not report.findings:
        print("  nothing found" if report.splits else "  there is nothing to audit")
    for finding in report.findings:
        print(f"  ! {finding}")


def reveal(found: list[Any], key: Path, wanted: list[str]) -> int:
    """Print which file and patient each hash stands for; 1 if one that was asked for is unknown.

    Raises:
        ConfigurationError: If a set hides no identifiers.
        MedRobustError: If the key or the set cannot be read.
    """
    for source in found:
        if not hasattr(source, "identities"):
            raise ConfigurationError(
                f"data set {source.name!r} hides no identifiers: folder, npz and dicom do."
            )
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(("id", "file", "group", "patient"))
    unknown = set(wanted)
    for source in found:
        for row in source.identities(read_key(key)):
            if not wanted or row.id in wanted:
                shown = (row.group, row.patient) if row.patient else ("", "")
                writer.writerow((row.id, row.file, *shown))
            unknown.discard(row.id)
    if unknown:
        sys.stderr.write(f"unknown with this key and table: {', '.join(sorted(unknown))}\n")
    return int(bool(unknown))


def main(arguments: list[str] | None = None) -> int:
    """Run the audits and return the exit status: 1 if a set cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("words", nargs="+", metavar="DATASET|key=value")
    parser.add_argument(
        "--fast", action="store_true", help="do not compare pictures, which reads all of them"
    )
    parser.add_argument("--key", type=Path, help="print what hashes stand for instead")
    parser.add_argument("--id", nargs="+", default=[], help="with --key: only these images")
    given = parser.parse_intermixed_args(arguments)
    words = [word.removeprefix("dataset=") for word in given.words]
    overrides = [word for word in words if "=" in word]
    names = [word for word in words if "=" not in word]
    try:
        if given.key is not None:
            return reveal(
                [s for name in names for s in sources(name, overrides)], given.key, given.id
            )
        reports: list[tuple[Audit, str | None]] = []
        for source in [s for name in names for s in sources(name, overrides)]:
            cache_dir = cache_of(source)
            reports.append((audit(source, pictures=not given.fast, cache_dir=cache_dir), cache_dir))
            print_audit(reports[-1][0])
        if not given.fast:
            for (one, cache_dir), (other, _) in combinations(reports, 2):
                for sentence in between_sets(one, other, cache_dir):
                    print(f"\n! {sentence}")
    except MedRobustError as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return 1
    return int(any(not report.splits for report, _ in reports))


if __name__ == "__main__":
    sys.exit(main())
