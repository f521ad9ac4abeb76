"""`medrobust audit NAME ...`: what may be wrong with data sets; or which files hashes stand for."""

import csv
import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medrobust.base.conf_folder import conf_folder
from medrobust.exceptions import ConfigurationError, unknown_name

from .conf_files import groups
from .parsing import add_overrides, as_typed, subcommand_parser
from .typed import config_dirs

if TYPE_CHECKING:
    from medrobust.datasets.audits.of_sets import Audit

ABOUT = """\
Say what may be wrong with data sets.

Names are those of conf/dataset (a collection stands for its members); overrides as for a run
follow, `dataset.root=data` for one. For each set: splits, classes and their shares, how counts fit
the known label orders, classes without images, patients in more than one split, pictures that
repeat others; for several sets also pictures that they share. Runs look for repeated pictures by
themselves, but not in what is very large or not unpacked yet; this looks at all of it. What is
found is kept in the cache, and later tables of these sets carry it.

With --training-list what the list of a model's publisher names is counted as well, by file names:
as many of the last folders count as make the names of the list different.

With --key no audit is printed but a CSV table from the hashes that the store knows to files and
patients, for whoever holds the key of the data: keep that table where the data is."""

EXAMPLES = (
    "bloodmnist pbc",
    "folder dataset.csv=DATA/labels.csv --training-list training_images.csv --column path",
    "folder dataset.csv=DATA/labels.csv --key DATA/.medrobust_key",
)


def main(arguments: Sequence[str]) -> int:
    """Run the audits and return the exit status: 1 if a set cannot be used."""
    parser = subcommand_parser("audit", ABOUT, *EXAMPLES)
    add_overrides(parser, "DATASET|dataset.KEY=...", nargs="+")
    parser.add_argument(
        "--fast", action="store_true", help="do not compare pictures, which reads all of them"
    )
    parser.add_argument("--key", type=Path, help="print what hashes stand for instead")
    parser.add_argument("--id", nargs="+", default=[], help="with --key: only these images")
    parser.add_argument("--training-list", type=Path, help="CSV that names training images")
    parser.add_argument("--column", help="of the list; needed if it has several")
    given = parser.parse_intermixed_args(list(arguments))
    words = [word.removeprefix("dataset=") for word in given.overrides]
    given.overrides = [word for word in words if "=" in word]
    typed = as_typed(given)
    found = [s for name in words if "=" not in name for s in sources(name, typed)]
    if given.key is not None:
        return reveal(found, given.key, given.id)
    if given.column and given.training_list is None:
        raise ConfigurationError("--column is of a list: pass --training-list FILE as well.")
    names = _training_names(given)
    reports = audited(found, fast=given.fast)
    if names is not None:
        print_named(found, reports, given.training_list, names)
    return int(any(not report.splits for report in reports))


def sources(name: str, overrides: Sequence[str]) -> list[Any]:
    """Build the sources of one option of the group dataset.

    Raises:
        UnknownNameError: If there is no such option; names the nearest.
        MedRobustError: As building it raises it.
    """
    from medrobust.evaluation.building import built

    from .hydra_app import composed

    options = groups([*config_dirs(overrides), conf_folder()])["dataset"]
    if name not in options:
        raise unknown_name("data set", name, options)
    dataset = built(composed([f"dataset={name}", *overrides]), "dataset")
    return list(getattr(dataset, "members", (dataset,)))


def audited(found: Sequence[Any], *, fast: bool) -> "list[Audit]":
    """Audit sets and print what was found of each, then of pairs, unless it has to be fast."""
    from medrobust.datasets.audits.of_sets import audit, between_sets
    from medrobust.datasets.cache import cache_of

    reports = []
    for source in found:
        cache_dir = cache_of(source)
        reports.append((audit(source, pictures=not fast, cache_dir=cache_dir), cache_dir))
        print_audit(reports[-1][0])
    for (one, cache_dir), (other, _) in () if fast else combinations(reports, 2):
        for sentence in between_sets(one, other, cache_dir):
            print(f"\n! {sentence}")
    return [report for report, _ in reports]


def _training_names(given: Any) -> list[str] | None:
    """Read the list before anything is audited; None where none was given."""
    from medrobust.datasets.audits.training_list import read_training_list

    if given.training_list is None:
        return None
    return read_training_list(given.training_list, given.column)


def print_named(
    found: Sequence[Any], reports: "Sequence[Audit]", file: Path, names: Sequence[str]
) -> None:
    """Print and keep which images of each split a training list names.

    Raises:
        ConfigurationError: If names of list and images cannot be compared.
    """
    from medrobust.datasets.audits.training_list import audit_list, clear_names
    from medrobust.datasets.cache import cache_of
    from medrobust.datasets.own.pseudonyms import data_key

    for source, report in zip(found, reports, strict=True):
        hides = hasattr(source, "identities") and hasattr(source, "folder")
        key = data_key(source.folder, source.key_file) if hides else None
        clear = clear_names(source, key)
        print(f"\n{report.name} beside {file.name}, {len(names)} names")
        for split, images in report.splits.items():
            finding = audit_list(images, clear, file, names, cache_of(source))
            print(f"  {f'! {finding}' if finding else f'{split}: no image is named'}")


def print_audit(report: "Audit") -> None:
    """Print one report: facts, then findings."""
    print(f"\n{report.name}")
    for fact in report.facts:
        print(f"  {fact}")
    if not report.findings:
        print("  nothing found" if report.splits else "  there is nothing to audit")
    for finding in report.findings:
        print(f"  ! {finding}")


def reveal(found: Sequence[Any], key: Path, wanted: Sequence[str]) -> int:
    """Print which file and patient each hash stands for; 1 if one that was asked for is unknown.

    Raises:
        ConfigurationError: If a set hides no identifiers.
        MedRobustError: If the key or the set cannot be read.
    """
    from medrobust.datasets.own.pseudonyms import read_key

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
