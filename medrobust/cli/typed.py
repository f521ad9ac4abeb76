"""What people type, as text: rewritten, checked against conf/, explained. Knows no Hydra."""

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from medrobust.base.conf_folder import conf_folder
from medrobust.base.former_names import (
    FORMER_TASKS,
    present_key,
    present_options,
    present_text,
    warn_of_kind,
)
from medrobust.base.program import program
from medrobust.exceptions import ConfigurationError, MissingDependencyError, unknown_name

from .conf_files import groups, option_file, run_wide_keys
from .quoting import readable

SEVERITIES = range(1, 6)
OVERRIDE = re.compile(
    r"^(?P<sign>[+~]{0,2})(?P<key>[A-Za-z_][\w./]*)(?P<package>@[\w.]*)?=(?P<value>.*)$"
)
SWEPT = ("-m", "--multirun")
FURTHER_PROMPTS = "further_prompts"
"""Where the configuration has the prompt sets after the first, each under its name."""
ANOTHER_CLASS = re.compile(r"^_target_: *(?!medrobust\.)\w", re.MULTILINE)
"""A file of options for a class that is not ours."""
LAUNCHERS = {
    "joblib": ("joblib", "joblib"),
    "submitit_local": ("submitit", "slurm"),
    "submitit_slurm": ("submitit", "slurm"),
    "ray": ("ray", "ray"),
}
"""Launcher -> name of its Hydra plugin, and the extra of ours that installs it."""
OF_JOBS = re.compile(r"hydra\.(?!mode$|sweeper\b)")
"""Keys of Hydra's that say how and where jobs run, not which there are."""
IN_BETWEEN = re.compile(r"[0-4]\.\d*[1-9]\d*")
INFINITE = re.compile(r"(?<![^\s:,=\[{])\.inf(?=[\s,\]}]|$)", re.IGNORECASE)
"""Infinity as YAML writes it, which overrides of Hydra take for a text."""
SPECIAL = re.compile(r"[$()\[\]{}'\"\\]")
BRACKETED = re.compile(r"^(?!['\"]).*\[[^\]]*,[^\]]*\]")
"""A list of several options, which Hydra lays one over another."""
RUNS = (
    ("", "demonstration, offline"),
    ("model=biomedclip corruption=gaussian_noise", "one model, one corruption"),
    ("-m model=clip_vit_b16,biomedclip severity=1,3", "a sweep"),
    ("prompts=paper,clip,bare", "one run, a row a prompt set"),
    ("... --cfg job", "show the configuration only"),
)
"""What help shows first: what may be typed, and what it does."""
LAID_OVER = ("experiment", "readings")
"""Groups whose options complete one another, so that a list of them has a meaning."""

REGION = ("corruption.region", "corruption.region_of", "corruption.domain")
"""Keys that every option of the group takes, and none has in its file."""


def config_dirs(arguments: Sequence[str]) -> list[Path]:
    """Return the folders named by `--config-dir DIR`, `--config-dir=DIR` and `-cd DIR`.

    Raises:
        ConfigurationError: If the folder is missing behind the flag.
    """
    found = []
    for position, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name not in ("--config-dir", "-cd"):
            continue
        if not equals and position + 1 < len(arguments):
            value = arguments[position + 1]
        if not value:
            raise ConfigurationError(f"{name} needs a folder: {name} FOLDER.")
        found.append(Path(value))
    return found


def without_config_dirs(arguments: Sequence[str]) -> list[str]:
    """Return the arguments that `config_dirs` does not read.

    Example:
        >>> without_config_dirs(["a=1", "--config-dir", "mine", "b=2", "-cd=theirs"])
        ['a=1', 'b=2']
    """
    names = ("--config-dir", "-cd")
    before = [None, *arguments]
    return [
        argument
        for previous, argument in zip(before, arguments, strict=False)
        if previous not in names and argument.partition("=")[0] not in names
    ]


def rewrite(arguments: Sequence[str]) -> list[str]:
    """Turn what people type for `severity` and `prompts` into what Hydra takes.

    `severity=3` names an option; with `-m` a list is a sweep over options; without it a list is
    one job over several levels. A list of prompt sets is likewise one job that applies all of them,
    and with `-m` a sweep, which keeps image features unless it says otherwise, so that every image
    is encoded once; a list in brackets is one job with `-m`, too. `model.adapter=FOLDER` is short
    for `adapter=path adapter.path=FOLDER`, `readings=a,b` for `readings=[a,b]`, and
    `hydra/launcher=NAME` takes our settings of that launcher, whose file cannot have the plugin's
    own name. Former names become present ones. `corruption.region` and `corruption.domain` go with
    every corruption. `-m` and `--config-dir DIR` may stand anywhere; Hydra by itself takes them
    before or after all overrides, not among them.

    Raises:
        MissingDependencyError: If a launcher's plugin is not installed.
        ConfigurationError: If a severity is outside 1..5, a list names options, or a list of prompt
            sets names one twice or none.

    Example:
        >>> rewrite(["severity=3"]), rewrite(["severity=1,3"]), rewrite(["-m", "severity=1,3"])
        (['severity=s3'], ['severity=all', 'severity.levels=[1,3]'], ['-m', 'severity=s1,s3'])
    """
    swept = any(flag in arguments for flag in SWEPT)
    kept = {"dataset.task"} if _tasks_of_their_own(arguments) else set[str]()
    rewritten: list[str] = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name == "severity" and equals:
            rewritten += _severity(value.replace(" ", ""), swept=swept)
        elif name == "prompts" and equals:
            rewritten += _prompts(value.replace(" ", ""), swept=swept)
        elif name == "readings" and "," in value and "[" not in value and not swept:
            rewritten.append(f"readings=[{value}]")
        elif name == "model.adapter" and equals:
            path = _readable(f"adapter.path={value}", swept=swept)
            rewritten += ["adapter=path", path]
        elif name in REGION and equals:
            rewritten.append(f"++{argument}")  # options of corruption do not write it down
        elif name == "hydra/launcher" and value in LAUNCHERS:
            rewritten.append(f"hydra/launcher={_launcher(value)}")
        else:
            rewritten.append(_readable(_present(argument, kept), swept=swept))
    several = any(a.startswith("prompts=") and "," in a for a in rewritten)
    if swept and several and not any("store.features=" in a for a in rewritten):
        rewritten.append("store.features=true")
    overrides = [argument for argument in without_config_dirs(rewritten) if argument not in SWEPT]
    flags = [argument for argument in rewritten if argument in SWEPT]
    return [*flags, *(f"--config-dir={path}" for path in config_dirs(rewritten)), *overrides]


def _tasks_of_their_own(arguments: Sequence[str]) -> bool:
    """Say whether a data set that is chosen is of a class of somebody else's that has a `task`."""
    folders = [*config_dirs(arguments), conf_folder()]
    chosen = [one.removeprefix("dataset=") for one in arguments if one.startswith("dataset=")]
    names = [name for options in chosen for name in options.split(",")]
    files = [option_file(folders, "dataset", name) for name in names]
    texts = [file.read_text(encoding="utf-8") for file in files if file is not None]
    return any(re.search("^task:", text, re.M) and ANOTHER_CLASS.search(text) for text in texts)


def _present(argument: str, kept: Collection[str]) -> str:
    """Write `tuning=few_shot`, `tuning.shots=4` for `task=few_shot`, `task.shots=4`."""
    match = OVERRIDE.match(argument)
    if match is None or match["key"] in kept:
        return argument
    if match["key"] == "dataset.task":
        warn_of_kind()
    key, value, package = match["key"], present_text(match["value"]), match["package"] or ""
    options = present_options(value) if key == "task" else None
    if options is not None:
        key, value = "tuning", options
    return f"{match['sign']}{present_key(key)}{package}={value}"


def _readable(argument: str, *, swept: bool) -> str:
    match = OVERRIDE.match(argument)
    if match is None:
        return argument
    setting = argument[: match.start("value")]
    value = match["value"]
    if not any(quote in value for quote in "'\""):
        value = INFINITE.sub("inf", value)
    return setting + readable(match["key"], value, swept=swept)


def _launcher(name: str) -> str:
    plugin, extra = LAUNCHERS[name]
    if find_spec("hydra_plugins") is None or not find_spec(
        f"hydra_plugins.hydra_{plugin}_launcher"
    ):
        raise MissingDependencyError(
            f"hydra/launcher={name} needs a plugin of Hydra: pip install 'medrobust[{extra}]'"
        )
    return f"medrobust_{name}"


def _severity(value: str, *, swept: bool) -> list[str]:
    bracketed = value.startswith("[") and value.endswith("]")
    parts = _range(value) or value.strip("[]").split(",")
    if IN_BETWEEN.fullmatch(value):
        at = [f"severity.levels=[{math.ceil(float(value))}]", f"severity.equalise.at={value}"]
        return ["severity=between", *at]
    if swept and not bracketed:
        return ["severity=" + ",".join(f"s{_level(p)}" if _is_number(p) else p for p in parts)]
    if len(parts) == 1 and not bracketed:
        return [f"severity=s{_level(value)}" if _is_number(value) else f"severity={value}"]
    if not all(_is_number(part) for part in parts):
        raise ConfigurationError(
            f"severity={value} is a list of option names; write the numbers, as severity=1,3,5."
        )
    levels = ",".join(str(_level(part)) for part in parts)
    return ["severity=all", f"severity.levels=[{levels}]"]


def _prompts(value: str, *, swept: bool) -> list[str]:
    """Name the first set as the option of its group, each further one in a package of its own."""
    bracketed = value.startswith("[") and value.endswith("]")
    sets = value.removeprefix("[").removesuffix("]").split(",") if bracketed else value.split(",")
    if not bracketed and (swept or len(sets) == 1 or SPECIAL.search(value)):
        return [f"prompts={value}"]
    if not all(sets) or len(set(sets)) < len(sets):
        raise ConfigurationError(f"prompts={value}: name prompt sets, each once, as prompts=a,b.")
    first, *further = sets
    packages = [f"{FURTHER_PROMPTS}.{re.sub(r'[^A-Za-z0-9]', '_', name)}" for name in further]
    return [
        f"prompts={first}",
        *(f"+prompts@{package}={name}" for package, name in zip(packages, further, strict=True)),
    ]


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d+(\.\d*)?", text) is not None


def _range(value: str) -> list[str]:
    match = re.fullmatch(r"range\((-?\d+),(-?\d+)(?:,(-?\d+))?\)", value)
    if match is None:
        return []
    start, stop, step = (int(part) if part else 1 for part in match.groups())
    if step == 0:
        raise ConfigurationError(f"severity={value} has a step of zero.")
    return [str(level) for level in range(start, stop, step)]


def _level(text: str) -> int:
    text = re.sub(r"\.0*$", "", text)  # 3.0 is 3
    if text == "0":
        raise ConfigurationError(
            "severity 0 is clean, which every run includes; corruption=clean runs it alone."
        )
    if IN_BETWEEN.fullmatch(text):
        raise ConfigurationError(
            f"severity {text} lies between the published ones, and a run has one of these alone: "
            f"write severity={text}."
        )
    if text not in {str(level) for level in SEVERITIES}:
        raise ConfigurationError(f"severity {text} does not exist; there are 1, 2, 3, 4 and 5.")
    return int(text)


def check_options(arguments: Sequence[str], known: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse an option that no file of its group has, naming the nearest.

    Args:
        arguments: As rewritten.
        known: From `conf_files.groups`.

    Raises:
        UnknownNameError: If an option does not exist.
        ConfigurationError: If several options are given without `-m`, or in brackets, of which
            Hydra keeps the last.
    """
    swept = any(flag in arguments for flag in SWEPT)
    for argument in arguments:
        match = OVERRIDE.match(argument)
        if match is None or match["key"] not in known or match["key"].startswith("hydra/"):
            continue
        group, value = match["key"], match["value"]
        if group not in LAID_OVER and BRACKETED.search(value):
            plain = f"{argument.partition('=')[0]}={re.sub(r'[][ ]', '', value)}"
            raise ConfigurationError(
                f"{argument}: a list in brackets would run only the last one. Write {plain} and -m."
            )
        if not value or value == "null" or SPECIAL.search(value):
            continue
        options = value.split(",")
        if len(options) > 1 and not swept:
            raise ConfigurationError(
                f"{argument} names {len(options)} options: add -m to run each of them."
            )
        for option in options:
            if option not in known[group]:
                if group == "corruption":
                    refuse_lone_suite(option)
                former = FORMER_TASKS if group == "task" else ()
                raise unknown_name(group, option, [*known[group], *former])


def refuse_lone_suite(name: str) -> None:
    """Refuse a suite, or the file of one, that is no option of `corruption`: say how it is chosen.

    Raises:
        ConfigurationError: If it is such a suite.
    """
    from medrobust.corruptions import suites
    from medrobust.corruptions.suites import FILE

    if name in suites() or name.endswith(FILE):
        option = "medfm_robust" if name.startswith("medfm_robust") else "medimeta_c"
        raise ConfigurationError(
            f"{name!r} is a suite without an option of its own: write corruption={option} "
            f"corruption.suite={name}."
        )


def subcommand(arguments: Sequence[str]) -> str | None:
    """Return the first argument if it is a plain word, which no override or flag is."""
    if arguments and re.fullmatch(r"[A-Za-z][\w-]*", arguments[0]):
        return arguments[0]
    return None


def options_named(
    arguments: Sequence[str], known: Mapping[str, Mapping[str, str]]
) -> list[tuple[str, str]]:
    """Return the (group, option) pairs that are typed, those that exist, each once.

    Example:
        >>> options_named(["dataset=[folder]", "seed=1"], {"dataset": {"folder": ""}})
        [('dataset', 'folder')]
    """
    pairs = (
        (match["key"], option)
        for match in map(OVERRIDE.match, arguments)
        if match is not None and match["key"] in known
        for option in match["value"].strip("[]").split(",")
    )
    return list(dict.fromkeys(pair for pair in pairs if pair[1] in known[pair[0]]))


def with_default_job(arguments: Sequence[str]) -> list[str]:
    """Put the demonstration before arguments that choose nothing, as `dry_run=true`.

    Arguments choose something where they name a group, a part of one, a file or a flag: any that is
    no run-wide key and no setting of Hydra's for its jobs. The demonstration is a sweep, so that
    what is typed for the folder of a run is that of the sweep.

    Example:
        >>> with_default_job(["dry_run=true", "store.dir=mine"])
        ['experiment=demonstration', 'dry_run=true', 'store.dir=mine']
        >>> with_default_job(["corruption=fog", "dry_run=true"])
        ['corruption=fog', 'dry_run=true']
        >>> with_default_job(["hydra.run.dir=mine"])
        ['experiment=demonstration', 'hydra.sweep.dir=mine']
    """
    wide = {key for key, _, _ in run_wide_keys(conf_folder() / "config.yaml")}
    matches = [OVERRIDE.match(argument) for argument in arguments]
    chosen = [
        match is None or (match["key"] not in wide and not OF_JOBS.match(match["key"]))
        for match in matches
    ]
    if any(chosen):
        return list(arguments)
    moved = [re.sub(r"^(\+*)hydra\.run\.dir=", r"\1hydra.sweep.dir=", one) for one in arguments]
    return ["experiment=demonstration", *moved]


def help_text(folders: Sequence[Path], subcommands: Mapping[str, str]) -> str:
    """List subcommands, every group and option with a line each, and the run-wide keys.

    Args:
        folders: Of configuration; earlier ones win.
        subcommands: Word -> what it does.
    """
    return "\n".join(_help_lines(folders, subcommands)) + "\n"


def _help_lines(folders: Sequence[Path], subcommands: Mapping[str, str]) -> Iterator[str]:
    yield "How a medical vision-language model behaves when images get worse."
    yield ""
    run = program()
    for command, what in RUNS:
        yield f"  {f'{run} {command}':<60}{what}".rstrip()
    yield f"Options before --help list the keys they accept: {run} dataset=folder --help"
    yield ""
    yield f"Subcommands, each with a --help of its own ({run} report --help):"
    width = max(map(len, subcommands)) + 2
    for word, headline in subcommands.items():
        yield f"  {word:<{width}}{headline}"
    for group, options in groups(folders).items():
        if group == "local":
            continue
        yield ""
        yield f"{group}="
        width = max(len(option) for option in options) + 2
        for option, headline in options.items():
            yield f"  {option:<{width}}{headline}"
    yield ""
    yield "Run-wide keys, with their defaults (KEY=VALUE):"
    for key, default, comment in run_wide_keys(conf_folder() / "config.yaml"):
        setting = f"{key}={default}"
        yield f"  {setting:<28}{comment}"
