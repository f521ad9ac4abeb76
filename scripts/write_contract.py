"""Write docs/corruption-contract.json and the stored card beside the tests.

    python scripts/write_contract.py             # refuses changed pixels under an old version
    python scripts/write_contract.py --replace   # accepts them: before a first release only

Where the pixels of a corruption have changed on the machine that made the contract, its `version`
in medrobust/corruptions/suites/ must be raised first: it is in the fingerprint of stored cells.
"""

import argparse
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medrobust.base.fingerprints import canonical_json
from medrobust.corruptions.contract import clauses, contract

ROOT = Path(__file__).resolve().parent.parent
CONTRACT = ROOT / "docs" / "corruption-contract.json"
PIXELS = ROOT / "tests" / "data" / "contract" / "pixels.npz"


def changed(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Name corruptions whose draws or, on the same machine, pixels differ under one version."""
    known = {_identity(clause): clause for clause in old["clauses"]}
    compared = ["draws"] + ["pixels"] * (old["made_with"] == new["made_with"])
    return [
        f"{clause['name']} severity {clause['severity']} ({clause['kernel']})"
        for clause in new["clauses"]
        if (before := known.get(_identity(clause)))
        and any(before[what] != clause[what] for what in compared)
    ]


def _identity(clause: dict[str, Any]) -> str:
    parts = ("name", "severity", "kernel", "parameters", "version")
    return canonical_json([clause[part] for part in parts])


def main() -> int:
    """Compare with the contract there is, and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--replace", action="store_true", help="accept changes under one version")
    options = parser.parse_args()
    new = contract()
    if CONTRACT.exists() and not options.replace:
        different = changed(json.loads(CONTRACT.read_text(encoding="utf-8")), new)
        if different:
            sys.stderr.write(
                f"error: {len(different)} have changed under their old version, as "
                f"{', '.join(different[:5])}. Raise `version` in the suite files first.\n"
            )
            return 1
    lines = ",\n".join("  " + canonical_json(clause) for clause in new.pop("clauses"))
    head = json.dumps(new, indent=1)[:-2]
    CONTRACT.parent.mkdir(parents=True, exist_ok=True)
    CONTRACT.write_text(f'{head},\n "clauses": [\n{lines}\n ]\n}}\n', encoding="utf-8")
    PIXELS.parent.mkdir(parents=True, exist_ok=True)
    pixels = torch.cat([clause.pixels() for clause in clauses()]).numpy()
    with (
        zipfile.ZipFile(PIXELS, "w", zipfile.ZIP_LZMA) as archive,
        archive.open("pixels.npy", "w") as stream,
    ):
        np.lib.format.write_array(stream, pixels)
    print(
        f"{len(pixels)} clauses in {CONTRACT.name}, {PIXELS.stat().st_size / 1e6:.1f} MB of pixels"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
