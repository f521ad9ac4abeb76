"""`medrobust monitor fit|update|report`: watch a deployed model for drift."""

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from medrobust.base.wording import agreeing
from medrobust.exceptions import ConfigurationError, MedRobustError

from .monitor_studies import (
    add_source,
    check_columns,
    image_files,
    kept_columns,
    key_file,
    known_key,
    read_studies,
)
from .parsing import check_out_file, check_out_folder, listed, run_job, subcommand_parser
from .steps_bar import steps_bar

if TYPE_CHECKING:
    from medrobust.evaluation.store import Store, StoredCell

ABOUT = """\
Watch a deployed model for drift: fit a monitor to clean studies, update it with new ones, and look
at its charts.

  fit     learn what clean studies look like, and set the limit to the false-alarm budget
  update  take in new studies, test every day's window, and say whether there is an alarm
  acknowledge  keep a note on an alarm, or begin anew
  report  write the page with control charts
  bench   say how soon each corruption would be noticed, from the cells of a store

Each has its options under --help."""

EXAMPLES = (
    "fit --reference clean.csv --out monitor --budget 365",
    "update monitor today.csv",
    "report monitor",
    "bench outputs/store --model biomedclip --dataset bloodmnist",
)

STATUS = """\
Exit status of update: 0 if there is no alarm or it is acknowledged, 3 if the last window is above
its limit, 1 for an error, 2 for arguments that do not exist."""

SETTINGS: dict[str, tuple[type, str]] = {
    "budget": (float, "days between false alarms (default 365)"),
    "window": (int, "days of a window (default 7)"),
    "fewest": (int, "studies that a window must have (default 30)"),
    "block": (int, "days that are alike, kept together (default 7)"),
    "confidence": (
        float,
        "share of references like this one that must keep the budget (default: their mean)",
    ),
    "detector": (str, "shewhart, cusum, ewma, page_hinkley, online_mmd (default ewma)"),
}
"""Options of the default recipe: what they are, and what help says of them."""

ALARM = 3
"""Exit status of an alarm."""


def main(arguments: Sequence[str]) -> int:
    """Do one of the jobs; return the exit status."""
    jobs = {
        "fit": fit, "update": update, "acknowledge": acknowledge, "report": report, "bench": bench
    }  # fmt: skip
    return run_job("monitor", ABOUT, EXAMPLES, STATUS, jobs, arguments)


def fit(arguments: Sequence[str]) -> int:
    """Fit a monitor to a reference and print its limit."""
    about = "Learn what clean studies look like, and set the limit to the false-alarm budget."
    examples = (
        "--reference clean.csv --out monitor",
        "--reference outputs/store --dataset bloodmnist --split val --per-day 40 --out monitor",
        "--reference clean.csv --recipe mmc_plus --out monitor_mmc_plus",
        "--reference images.csv --out monitor --encode model=biomedclip dataset=folder "
        "'dataset.class_names=[normal,pneumonia]'",
    )
    parser = subcommand_parser("monitor fit", about, *examples)
    parser.add_argument(
        "--reference", type=Path, required=True, metavar="TABLE|FOLDER|STORE", help="clean studies"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the monitor, made anew")
    parser.add_argument("--recipe", default="default", help="default, chexstray or mmc_plus")
    for name, (kind, what) in SETTINGS.items():
        parser.add_argument(f"--{name}", type=kind, help=what)
    parser.add_argument("--seed", type=int, default=0, help="of the draws that set the limit")
    parser.add_argument(
        "--label",
        default="",
        help="column of what is right, the number of a score from 0; scores must be probabilities",
    )
    for name, what in (("numeric", "measures"), ("categorical", "categories")):
        parser.add_argument(
            f"--{name}", action="append", default=[], help=f"columns of {what}: A,B"
        )
    parser.add_argument("--limit", type=float, help="of a published recipe, where it has none")
    _add_gap(parser)
    add_source(parser)
    given = parser.parse_args(arguments)
    check_out_folder(given.out)
    from medrobust.datasets.own.pseudonyms import data_key
    from medrobust.monitor.published import RECIPES
    from medrobust.monitor.watch import fit_monitor
    from medrobust.monitor.windows import Settings

    _check_gap(given.gap)
    typed = {n: getattr(given, n) for n in SETTINGS if getattr(given, n) is not None}
    if given.recipe in RECIPES:
        _check_published(given, typed)
    settings = Settings(**typed, seed=given.seed)
    studies, model = read_studies(given.reference, given)
    file = key_file(given, given.out)
    made = given.key is None and not file.exists()
    key = data_key(given.out.parent, str(file))
    steps = "windows" if given.recipe in RECIPES else "references"
    try:
        with steps_bar("fit", steps) as on_step:
            record = fit_monitor(
                given.out,
                studies,
                key=key,
                recipe=given.recipe,
                settings=settings,
                limit=given.limit,
                model=model,
                columns=kept_columns(given.reference, given),
                gap=given.gap,
                on_step=on_step,
            )
    except MedRobustError:
        if made and not given.out.exists():
            file.unlink(missing_ok=True)
        raise
    print(_fitted(record, given))
    return 0


def _check_published(given: Namespace, typed: Mapping[str, object]) -> None:
    """Refuse what a published recipe does not use.

    Raises:
        ConfigurationError: Naming the first such option.
    """
    for name in typed:
        raise ConfigurationError(
            f"--{name} is for the default recipe, and {given.recipe} computes as it was published, "
            f"without it: leave --{name} out."
        )
    if given.label:
        raise ConfigurationError(
            f"--label is for the default recipe, and {given.recipe} estimates no accuracy: pass "
            f"--ignore {given.label} in its place, or that column becomes a stream."
        )


def _fitted(record: dict[str, object], given: Namespace) -> str:
    lines = [f"{given.out}: {len(record['streams'])} streams of {_reference(record)}."]  # type: ignore[arg-type]
    if record["recipe"] == "default":
        from medrobust.monitor.limit_words import (
            few_patients_words,
            followed_words,
            limit_words,
            silent_words,
        )

        lines.append(f"limit {record['limit']:.3g}: {limit_words(record)}")
        said = (few_patients_words, followed_words, silent_words)
        lines += filter(None, (words(record) for words in said))
    elif record["limit"] is None:
        lines.append("no limit was published for this recipe: pass --limit to be alarmed.")
    else:
        whose = "as published" if given.limit is None else "by --limit"
        below = "; it alarms below minus that" if record["recipe"] == "chexstray" else ""
        lines.append(f"limit {record['limit']}, {whose}: its false alarms are not bounded{below}.")
    return "\n".join(lines)


def _reference(record: dict[str, object]) -> str:
    from medrobust.monitor.studies import day_text

    known = record["reference"]
    assert isinstance(known, dict)
    days = f"{day_text(known['first'])} to {day_text(known['last'])}"
    return f"{known['studies']} studies of {known['patients']} patients, {days}"


def update(arguments: Sequence[str]) -> int:
    """Take in new studies; 3 if the last window is above its limit."""
    about = "Take in new studies, test every day's window, and say whether there is an alarm."
    examples = ("monitor today.csv", "monitor today.csv --json >> alarms.jsonl")
    parser = subcommand_parser("monitor update", about, *examples, ends=STATUS)
    parser.add_argument("monitor", type=Path, help="folder of the monitor")
    parser.add_argument("studies", type=Path, metavar="TABLE|FOLDER|STORE", help="new studies")
    parser.add_argument("--json", action="store_true", help="print status.json on one line")
    _add_gap(parser)
    parser.add_argument(
        "--pictures", type=int, default=0, metavar="N", help="keep N nearest and N farthest ones"
    )
    _add_wandb(parser)
    add_source(parser)
    given = parser.parse_args(arguments)
    from medrobust.monitor.folder import MonitorFolder
    from medrobust.monitor.pictures import keep_pictures, pictures_of
    from medrobust.monitor.watch import update_monitor

    _check_wandb(given.wandb)
    _check_gap(given.gap)
    if given.pictures < 0:
        raise ConfigurationError(f"--pictures {given.pictures} must be 0 or more.")

    record = MonitorFolder(given.monitor).record()  # no monitor: said before tables are read
    key = known_key(given)
    check_columns(given.studies, given, record)
    given.numeric, given.categorical = record["numbers"], record["categories"]
    studies, model = read_studies(given.studies, given)
    made = []
    if given.pictures:  # what is wrong with them is said before studies are taken in
        files = image_files(given.studies, studies, given.encode)
        made = pictures_of(given.monitor, studies, files, given.pictures)
    with steps_bar("update", "windows") as on_step:
        found = update_monitor(
            given.monitor, studies, key=key, model=model, gap=given.gap, on_step=on_step
        )
    for remark in found.remarks:
        print(remark, file=sys.stderr)
    if given.json:
        import json

        print(json.dumps(found.status, sort_keys=True))
    else:
        print(
            f"{found.added} new {agreeing(found.added, 'study')}. {_said(found.status, record)}"
            f"{_guessed(found.status)}"
        )
    if given.pictures:
        keep_pictures(given.monitor, made)
    if given.wandb:
        from medrobust.monitor.wandb_runs import send_update

        windows = MonitorFolder(given.monitor).read("windows.json")
        send_update(given.wandb, given.monitor, found.status, windows)
        _say_offline(given.monitor)
    return ALARM if found.alarm else 0


def _said(status: dict[str, object], record: Mapping[str, object]) -> str:
    if status["day"] is None:
        return "No window has enough studies yet."
    value, limit = status["statistic"], status["limit"]
    shown = "without a limit" if limit is None else f"limit {limit:.3g}"
    if isinstance(limit, float) and record["recipe"] == "chexstray":  # it falls with drift
        shown = f"alarms below {-limit:.3g}"
    text = f"{status['day']}: {value:.3g}, {shown}."
    if not status["alarm"]:
        return f"No alarm. {text}"
    if status["acknowledged"] is not None:
        return f"Alarm since {status['since']}, acknowledged: {status['acknowledged']}. {text}"
    parts = status["contributions"]
    assert isinstance(parts, list)
    streams = ", ".join(f"{name} {z:.1f}" for name, z in parts[:3])
    return f"ALARM since {status['since']}. {text} Farthest from clean, in spreads: {streams}."


def _guessed(status: dict[str, object]) -> str:
    found = status["accuracy"]
    if not isinstance(found, dict):
        return ""
    shown = ", ".join(f"{100 * value:.1f} % ({name.upper()})" for name, value in found.items())
    return f" Accuracy estimated without labels: {shown}."


def acknowledge(arguments: Sequence[str]) -> int:
    """Keep a note on the present alarm."""
    about = (
        "Keep a note on the present alarm. Its exit status is 0 from then on, until a day without\n"
        "alarm ends it; with --reset the detector forgets what it has seen."
    )
    example = 'monitor --note "new scanner in room 2, as planned" --reset'
    parser = subcommand_parser("monitor acknowledge", about, example)
    parser.add_argument("monitor", type=Path, help="folder of the monitor")
    parser.add_argument("--note", required=True, help="what was found or done; name no patient")
    parser.add_argument("--reset", action="store_true", help="begin anew after the last day")
    given = parser.parse_args(arguments)
    from medrobust.monitor.notes import acknowledge as keep
    from medrobust.monitor.watch import refresh

    note = keep(given.monitor, given.note, reset=given.reset)
    until = refresh(given.monitor)["silent_until"]
    anew = " The detector begins anew." if note.reset else ""
    anew += f" It is silent until {until}." if note.reset and until else ""
    print(f"{note.day}: noted.{anew}")
    return 0


def report(arguments: Sequence[str]) -> int:
    """Write the page."""
    parser = subcommand_parser("monitor report", "Write the page with control charts.", "monitor")
    parser.add_argument("monitor", type=Path, help="folder of the monitor")
    parser.add_argument("--out", type=Path, help="file of the page (default MONITOR/report.html)")
    parser.add_argument("--bench", type=Path, help="bench.csv: how soon changes are noticed")
    parser.add_argument(
        "--label-free", type=Path, help="label_free.csv: how far estimates of accuracy erred"
    )
    given = parser.parse_args(arguments)
    if given.out is not None:
        check_out_file(given.out)
    from medrobust.monitor.page import write_page

    page = given.out or given.monitor / "report.html"
    print(write_page(given.monitor, page, bench=given.bench, label_free=given.label_free))
    return 0


def bench(arguments: Sequence[str]) -> int:
    """Write bench.csv and bench.html."""
    about = (
        "Say how soon each corruption would be noticed, and how much accuracy is lost by then,\n"
        "from the cells of a store alone. The embedding counts where store.features=true kept it."
    )
    examples = ("outputs/store --out outputs/bench", "outputs/store --prevalence 0.05,0.5")
    parser = subcommand_parser("monitor bench", about, *examples)
    parser.add_argument("store", type=Path, help="folder of the store (store.dir)")
    parser.add_argument("--out", type=Path, default=Path("outputs/bench"), help="where it goes")
    parser.add_argument("--prevalence", action="append", default=[], help="shares: A,B (0.1,0.3,1)")
    parser.add_argument("--detector", action="append", default=[], help="only these: A,B")
    parser.add_argument("--per-day", type=int, default=40, help="studies a day")
    parser.add_argument("--budget", type=float, default=365.0, help="days between false alarms")
    parser.add_argument("--window", type=int, default=7, help="days of a window")
    for name in ("model", "dataset", "prompts"):
        parser.add_argument(f"--{name}", default="", help="where the store has several")
    parser.add_argument("--split", default="test", help="of the images (default test)")
    parser.add_argument(
        "--into", action="append", default=[], help="data sets of other sites that it turns into: A"
    )
    parser.add_argument(
        "--turn",
        action="append",
        default=[],
        metavar="COLUMN=VALUE",
        help="a view or scanner of the metadata that the stream turns into",
    )
    _add_wandb(parser)
    given = parser.parse_args(arguments)
    check_out_folder(given.out)
    _check_wandb(given.wandb)
    from medrobust.evaluation.store import Store
    from medrobust.metrics.drift.detectors import DETECTORS
    from medrobust.monitor.bench import Bench
    from medrobust.monitor.bench_changes import bench_store
    from medrobust.monitor.bench_page import write_bench
    from medrobust.monitor.stored import Choice, clean_cell

    shares = listed(given.prevalence) or ["0.1", "0.3", "1"]
    try:
        prevalences = tuple(map(float, shares))
    except ValueError as error:
        raise ConfigurationError(f"--prevalence {','.join(shares)}: {error}.") from error
    named = listed(given.detector)
    chosen = Bench(
        per_day=given.per_day,
        window=given.window,
        budget=given.budget,
        prevalences=prevalences,
        detectors=tuple(named or DETECTORS),
    )
    store = Store(given.store)
    cell = clean_cell(store, Choice(given.model, given.dataset, given.split, given.prompts))
    if not named:
        chosen = replace(chosen, detectors=tuple(_possible(store, cell)))
    others = [
        clean_cell(store, Choice(cell.spec.model, name, given.split, given.prompts))
        for name in listed(given.into)
    ]
    found = list(bench_store(store, cell, chosen, others, _turns(given.turn)))
    about = f"{cell.spec.model} on {cell.spec.dataset}."
    print(write_bench(given.out, found, chosen, about))
    if given.wandb:
        from medrobust.monitor.wandb_runs import send_bench

        send_bench(given.wandb, given.out, found, about)
        _say_offline(given.out)
    return 0


def _possible(store: "Store", cell: "StoredCell") -> list[str]:
    """Return the detectors that a store has something for, and say which it does not."""
    from medrobust.metrics.drift.detectors import DETECTORS, LARGEST, detector_of

    if store.has_features(str(cell.record["encoding_fingerprint"])):
        return list(DETECTORS)
    found = [name for name in DETECTORS if detector_of(name).follows == LARGEST]
    left = ", ".join(name for name in DETECTORS if name not in found)
    print(f"no {left}: it follows the embedding, and no features were kept.", file=sys.stderr)
    return found


def _turns(given: Sequence[str]) -> list[tuple[str, str]]:
    """Read --turn COLUMN=VALUE.

    Raises:
        ConfigurationError: If one has no column or value.
    """
    found = [tuple(text.partition("=")[::2]) for text in given]
    for (column, value), text in zip(found, given, strict=True):
        if not column or not value:
            raise ConfigurationError(f"--turn {text}: write COLUMN=VALUE, as in view=lateral.")
    return [(column, value) for column, value in found]


def _add_gap(parser: ArgumentParser) -> None:
    """Let a job say how long a site may have been closed."""
    parser.add_argument(
        "--gap", type=int, default=92, help="days without studies that are no wrong time stamp"
    )


def _check_gap(days: int) -> None:
    if days < 1:
        raise ConfigurationError(f"--gap {days} must be 1 or more.")


def _add_wandb(parser: ArgumentParser) -> None:
    """Let a job be logged."""
    parser.add_argument(
        "--wandb", default="", metavar="PROJECT", help="also log to W&B; offline without an account"
    )


def _say_offline(folder: Path) -> None:
    """Say where a run lies that was not sent."""
    from medrobust.reporting.wandb_environment import account_mode

    if "offline" in (account_mode(), os.environ.get("WANDB_MODE")):
        print(f"W&B: the run lies in {folder / 'wandb'}.", file=sys.stderr)


def _check_wandb(project: str) -> None:
    """Refuse, before anything is computed, what is exported as W&B does not take it."""
    if project:
        from medrobust.reporting.wandb_environment import check_exported, check_project

        check_exported(os.environ)
        check_project(project, os.environ)
