"""`medrobust gate fit|check|report`: on which images a model must not be used."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medrobust.exceptions import ConfigurationError

from .parsing import check_out_file, listed, run_job, subcommand_parser

if TYPE_CHECKING:
    from medrobust.readings.gate.gate import Gate
    from medrobust.readings.gate.realised import Realised

ABOUT = """\
Say on which images a model must not be used, by their quality alone.

  fit     prove on stored cells how unlike clean images may be before the model errs too often
  check   accept or refuse pictures and DICOM files, in milliseconds and without the model
  report  show what the gate does to stored cells, such as corruptions that the fit did not see

Each has its options under --help."""

EXAMPLES = (
    "fit outputs/store --model phantomclip --alpha 0.1 --out gate.json",
    "check gate.json scans",
    "report gate.json outputs/store --split test",
)

STATUS = """\
Exit status of check: 0 if all files of a folder are accepted but hidden ones, tables and notes,
which are named, 3 if one is refused, 1 for an error, 2 for arguments that do not exist."""

REFUSED = 3
"""Exit status where an image is refused."""


def main(arguments: Sequence[str]) -> int:
    """Do one of the jobs; return the exit status."""
    jobs = {"fit": fit, "check": check, "report": report}
    return run_job("gate", ABOUT, EXAMPLES, STATUS, jobs, arguments)


def fit(arguments: Sequence[str]) -> int:
    """Fit a gate on stored cells; write it and say what it promises."""
    about = "Prove on stored cells how unlike clean images may be before the model errs too often."
    examples = ("outputs/store --model phantomclip --out gate.json",)
    parser = subcommand_parser("gate fit", about, *examples)
    parser.add_argument("stores", type=Path, nargs="+", metavar="STORE", help="folders of stores")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="gate.json")
    parser.add_argument("--alpha", type=float, default=0.1, help="greatest risk (0.1)")
    parser.add_argument("--delta", type=float, default=0.05, help="chance to be wrong (0.05)")
    parser.add_argument(
        "--clean-share", type=float, default=0.5, help="of clean images in the mixture (0.5)"
    )
    parser.add_argument(
        "--held-out", action="append", default=[], metavar="A,B", help="corruptions not fitted on"
    )
    parser.add_argument("--class", dest="of_class", default="", help="only images of this class")
    parser.add_argument("--modality", default="", help="that DICOM files must have, such as CR")
    parser.add_argument("--seed", type=int, default=0, help="of the draw of images")
    _add_choice(parser, "val")
    given = parser.parse_args(arguments)
    check_out_file(given.out)
    from medrobust.base.seals import sealed_json
    from medrobust.base.whole_files import write_whole
    from medrobust.readings.gate.fit import fit as fitted
    from medrobust.readings.gate.gate import Promise

    promise = Promise(
        given.alpha, given.delta, given.clean_share, tuple(listed(given.held_out)), given.seed
    )
    gate = fitted(
        _pairs(given.stores, given),
        promise,
        of_class=given.of_class,
        modality=given.modality,
    )
    try:
        write_whole(given.out, sealed_json(gate.record()))
    except OSError as error:
        raise ConfigurationError(f"{given.out} cannot be written: {error.strerror}.") from error
    print("\n".join(_told(gate)))
    print(given.out)
    return 0


def _told(gate: "Gate") -> list[str]:
    low, kept, high = (100 * share for share in gate.clean_kept)
    lines = [gate.sentence, f"It accepts {kept:.1f} % [{low:.1f}, {high:.1f}] of clean images."]
    if gate.about["demonstration"]:
        lines.append("demonstration on synthetic phantoms: says nothing about medicine")
    limits = zip(gate.envelope.names, *gate.envelope.limits(gate.limit), strict=True)
    return [*lines, *(f"  {name}: {low:.4g} to {high:.4g}" for name, low, high in limits)]


def check(arguments: Sequence[str]) -> int:
    """Accept or refuse image files."""
    about = "Accept or refuse image files, in milliseconds and without the model."
    parser = subcommand_parser("gate check", about, "gate.json scans", ends=STATUS)
    parser.add_argument("gate", type=Path, help="from `medrobust gate fit`")
    parser.add_argument(
        "images", type=Path, metavar="IMAGE|FOLDER", help="pictures, DICOM files, or a folder"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = parser.parse_args(arguments)
    from medrobust.datasets.own.dicom_search import passed_sentences, printable_whole
    from medrobust.jobs.gate_check import check_files, files_below

    if given.gate.is_dir():
        raise ConfigurationError(
            f"{given.gate} is a folder: write the gate first, then the images."
        )
    gate = _read(given.gate)
    found = files_below(given.images)
    verdicts, began = [], 0.0
    for verdict in check_files(gate, found, given.images):
        verdicts.append(verdict)
        if len(verdicts) == 1:  # the first one loads what measures
            began = time.perf_counter()
        if not given.json:
            word = "accepted" if verdict.accepted else "refused "
            line = "  ".join((word, verdict.file, "; ".join(verdict.reasons))).rstrip()
            print(printable_whole(line))
    taken, total = sum(verdict.accepted for verdict in verdicts), len(verdicts)
    if given.json:
        images = [verdict.record() for verdict in verdicts]
        told = {"promise": gate.sentence, "images": images, "passed": dict(found.passed)}
        print(json.dumps(told, indent=1))
    else:
        each = 1000 * (time.perf_counter() - began) / max(total - 1, 1)
        pace = f", {each:.1f} ms an image" if total > 1 else ""
        print(f"{taken} of {total} accepted{pace}")
        print("\n".join([*passed_sentences(found.passed), gate.sentence]))
    return 0 if taken == total else REFUSED


def report(arguments: Sequence[str]) -> int:
    """Show what a gate does to stored cells."""
    about = "Show what a gate does to stored cells, such as corruptions that the fit did not see."
    examples = ("gate.json outputs/store", "gate.json outputs/store --dataset phantoms_site_b")
    parser = subcommand_parser("gate report", about, *examples)
    parser.add_argument("gate", type=Path, help="from `medrobust gate fit`")
    parser.add_argument("stores", type=Path, nargs="+", metavar="STORE", help="folders of stores")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write a table, gate.csv")
    _add_choice(parser, "test")
    given = parser.parse_args(arguments)
    if given.out is not None:
        check_out_file(given.out)
    from medrobust.readings.gate.realised import mixtures, realised, summary

    gate = _read(given.gate)
    given.model = given.model or gate.about["model"]
    given.of_class = gate.about["of_class"]
    found = _pairs(given.stores, given)
    each, mixed = realised(gate, found), mixtures(gate, found)
    print("condition             fitted  images  error  accepted               error of accepted")
    for one in (*mixed, *each):
        print(_line(one))
    print("\n".join(summary(gate, each, mixed)))
    if given.out is not None:
        _write_table(given.out, [*mixed, *each])
    return 0


def _line(one: "Realised") -> str:
    low, kept, high = (100 * share for share in one.kept)
    error = "–"
    if one.kept_risk is not None:
        least, value, most = (100 * share for share in one.kept_risk)
        error = f"{value:5.1f} [{least:.1f}, {most:.1f}]"
    accepted = f"{kept:5.1f} [{low:.1f}, {high:.1f}]"
    fitted = "yes" if one.fitted else "no"
    before = f"{one.count:>7} {100 * one.risk:>6.1f}"
    return f"{one.condition:<21} {fitted:<6} {before}  {accepted:<21}  {error}"


def _write_table(file: Path, found: "Sequence[Realised]") -> None:
    from medrobust.base.whole_files import write_whole
    from medrobust.readings.gate.realised import COLUMNS, rows
    from medrobust.reporting.tables import csv_bytes

    try:
        write_whole(file, csv_bytes(rows(found), COLUMNS))
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be written: {error.strerror}.") from error


def _add_choice(parser: Any, split: str) -> None:
    parser.add_argument("--model", default="", help="name of the model, of several")
    parser.add_argument("--dataset", default="", help="name of the data set, of several")
    parser.add_argument("--split", default=split, help=f"of the data ({split})")


def _pairs(stores: Sequence[Path], given: Any) -> Any:
    from medrobust.evaluation.store import Store
    from medrobust.exceptions import StoreError
    from medrobust.readings.gate.pairs import Choice, pairs

    for store in stores:
        if not (store / "cells").is_dir():
            raise StoreError(f"{store} holds no cells. Pass the folder that store.dir names.")
    choice = Choice(given.model, given.dataset, given.split, given.of_class)
    return pairs([Store(store) for store in stores], choice)


def _read(file: Path) -> "Gate":
    from medrobust.base.seals import read_sealed
    from medrobust.readings.gate.gate import read_gate

    try:
        record = read_sealed(file)
    except FileNotFoundError as error:
        raise ConfigurationError(f"{file} not found. Make it by `medrobust gate fit`.") from error
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{file} is no gate as `medrobust gate fit` wrote it ({error}): fit it again."
        ) from error
    return read_gate(record)
