"""Say which file and patient a stored hash stands for, for whoever holds the key of the data.

    python scripts/reveal_ids.py --key DATA/.medrobust_key dataset=dicom dataset.csv=DATA/labels.csv

Give the same dataset=... arguments as for the run. Prints CSV with the columns id, file, group,
patient: id and group are what the store knows. The table is for the owner of the data: keep it
where the data is.
"""

import argparse
import csv
import sys
from pathlib import Path

from medrobust.cli import composed, leave
from medrobust.datasets.private import read_key
from medrobust.evaluation.plan import built
from medrobust.exceptions import ConfigurationError


def main(arguments: list[str] | None = None) -> int:
    """Print the table, or the rows of the hashes that were asked for; 1 if one is unknown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--key", type=Path, required=True, help="the .medrobust_key of the data")
    parser.add_argument("--id", nargs="+", default=[], help="only these hashes of images")
    parser.add_argument("overrides", nargs="+", metavar="dataset=...")
    given = parser.parse_intermixed_args(arguments)
    source = built(composed(given.overrides), "dataset")
    if not hasattr(source, "identities"):
        raise ConfigurationError(
            f"dataset {source.name!r} hides no identifiers: folder, npz and dicom do."
        )
    rows = [
        row for row in source.identities(read_key(given.key)) if not given.id or row.id in given.id
    ]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(("id", "file", "group", "patient"))
    for row in rows:
        shown = (row.group, row.patient) if row.patient else ("", "")
        writer.writerow((row.id, row.file, *shown))
    unknown = set(given.id) - {row.id for row in rows}
    if unknown:
        print(f"unknown with this key and table: {', '.join(sorted(unknown))}", file=sys.stderr)
    return 1 if unknown else 0


if __name__ == "__main__":
    leave(main)
