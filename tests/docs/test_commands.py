"""Every command of the documentation: run where nothing but the package is needed, else composed.

`pages.py` finds them. A command of `run.py` on phantoms is run, smaller; every other one is
composed by Hydra, every value of a sweep, and its parts are built, so that no option is misspelt.
Subcommands and scripts have their arguments parsed, choices and keys of subcommands are composed;
those that tiny files in published layouts can feed are run.
What can be neither is marked in the page by `<!-- not run: REASON -->`.
"""

import argparse
import ast
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import write_random_biomedclip
from datasets import write_medmnist
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from pages import ROOT, Command, blocks, commands, pages
from run_entry import answer
from run_script import script

from medrobust.base.conf_folder import conf_folder
from medrobust.cli import entry as cli
from medrobust.cli import hydra_app
from medrobust.cli import typed as arguments
from medrobust.cli.subcommands import SUBCOMMANDS
from medrobust.corruptions import CorruptionTransform, RandomCorruption
from medrobust.datasets.phantoms.source import phantom
from medrobust.evaluation.building import built

PARTS = ("model", "dataset", "corruption", "prompts", "adapter", "logger", "task", "speed")
ASKS = {"--help", "--cfg"}
COMMANDS = list(dict.fromkeys(commands()))
MARKED = [command for command in COMMANDS if command.mark.startswith("not run: ")]
OTHERS = [command for command in COMMANDS if not command.mark]
SMALL = ("dataset.per_class=1", "hydra.run.dir=run", "hydra.sweep.dir=sweep")
TUNING = ("task.epochs=1", "dataset.per_class=4")


def overrides(command: Command) -> list[str] | None:
    """What a command gives to run.py; None where it runs something else."""
    words = command.words
    for program in ("run.py", "medrobust"):
        if program in words:
            return words[words.index(program) + 1 :]
    return None


def composed(given: list[str]) -> Iterator[DictConfig]:
    """Compose with every value of every sweep, the others at their first."""
    if "--help" in given:
        given = []
    assert not arguments.config_dirs(given), (
        "mark it <!-- run in a copy -->: it needs a folder of its own"
    )
    asked = [word for word in given if word.startswith("--")]
    assert set(asked) <= ASKS, asked
    typed = arguments.rewrite([w for w in given if w not in {*ASKS, "job"}])
    swept = [word for word in typed if word != "-m"]
    choices = [
        [f"{o.get_key_element()}={value}" for value in o.sweep_string_iterator()]
        if o.is_sweep_override()
        else [text]
        for o, text in zip(OverridesParser.create().parse_overrides(swept), swept, strict=True)
    ]
    first = [values[0] for values in choices]
    for place, values in enumerate(choices or [[]]):
        for value in values[1:] if place else values or [None]:
            yield hydra_app.composed([*first[:place], value, *first[place + 1 :]] if value else [])


def embedded(config: DictConfig) -> bool:
    """Whether a configuration needs nothing but the package."""
    model, data = config.model._target_, config.dataset._target_
    return "PhantomClip" in model and "Phantom" in data and "path" not in config.adapter


def is_subcommand(command: Command) -> bool:
    """Whether a word such as `verify` follows run.py or medrobust."""
    return (overrides(command) or [""])[0] in SUBCOMMANDS


RUNS = [c for c in OTHERS if overrides(c) is not None and not is_subcommand(c)]
RUNS = list({tuple(overrides(c) or ()): c for c in reversed(RUNS)}.values())[::-1]
"""Each once, wherever it is written again."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages speak of: weights, data, an adapter, a checkpoint."""
    root = tmp_path_factory.mktemp("pages")
    write_random_biomedclip(root / "WEIGHTS")
    for name in ("bloodmnist", "octmnist"):
        write_medmnist(root / "data", name)
    torch.save({"a": torch.zeros(2)}, root / "FILE")
    for adapter in (root / "outputs" / "store" / "adapters" / "FP", root / "FOLDER"):
        adapter.mkdir(parents=True)
        (adapter / "adapter_model.safetensors").write_bytes(b"")
    return root


BUILT: set[str] = set()
"""Parts that were built: most commands leave most of them as they are."""


@pytest.mark.every_nth(8)
@pytest.mark.parametrize("command", RUNS, ids=lambda c: f"{c.page}: {c.text[:60]}")
def test_every_run_composes_and_its_parts_build(
    command: Command, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    for config in composed(overrides(command)):
        for part in PARTS:
            alike = f"{part} {OmegaConf.to_container(config[part], resolve=True)}"
            if alike not in BUILT:
                assert built(config, part) is not None
                BUILT.add(alike)


def runnable(command: Command) -> bool:
    given = overrides(command)
    return bool(given) and not ASKS & set(given) and "trainer=ddp" not in given


@pytest.mark.slow  # some of them tune adapters
@pytest.mark.parametrize(
    "command", [c for c in RUNS if runnable(c)], ids=lambda c: f"{c.page}: {c.text[:60]}"
)
def test_runs_on_phantoms_end_in_a_report(
    command: Command, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = overrides(command)
    if "adapter.path=" in " ".join(arguments.rewrite(given)):
        pytest.skip("composed: it needs an adapter")
    config = next(composed(given))
    if not embedded(config):
        pytest.skip("composed: it needs weights or data")
    assert run([*given, *SMALL, *(TUNING if "few_shot" in " ".join(given) else ())]) == 0
    assert list(workplace.glob("*/report.html"))


def run(given: list[str]) -> int:
    GlobalHydra.instance().clear()
    with pytest.raises(SystemExit) as done:
        cli.main(given)
    return done.value.code


class Parsed(BaseException):
    """The arguments of a script were understood."""


@pytest.fixture
def parse_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("parse_args", "parse_intermixed_args", "parse_known_args"):
        original = getattr(argparse.ArgumentParser, name)

        def parse(*given, original=original, **more):
            parsed = original(*given, **more)
            if sys._getframe(1).f_globals["__name__"].startswith(("script_", "medrobust.")):
                raise Parsed
            return parsed

        monkeypatch.setattr(argparse.ArgumentParser, name, parse)


@pytest.mark.every_nth(6)
@pytest.mark.parametrize(
    "command", [c for c in OTHERS if is_subcommand(c)], ids=lambda c: f"{c.page}: {c.text[:60]}"
)
def test_every_subcommand_takes_its_arguments(
    command: Command, parse_only: None, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    word, *given = overrides(command) or []
    sets = arguments.groups([conf_folder()])["dataset"]
    keys = [f"dataset={name}" for name in given if name in sets and word == "audit"][:1]
    keys += [text for text in given if re.match(r"[a-z_./]+=", text)]
    monkeypatch.chdir(files)
    for config in composed(["-m", *keys]) if keys and word != "verify" else ():
        built(config, "dataset")
    if given:  # a word alone is a mention
        with pytest.raises(Parsed):
            SUBCOMMANDS[word](given)


def is_script(command: Command) -> bool:
    return overrides(command) is None and command.words[0] == "python"


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [c for c in OTHERS if is_script(c)], ids=lambda c: f"{c.page}: {c.text[:60]}"
)
def test_every_script_is_there_and_takes_its_arguments(command: Command, parse_only: None) -> None:
    program, *given = command.words[1:]
    if program == "-m":
        program, *given = given[0].replace(".", "/"), *given[1:]
        if program == "pytest":
            return  # of a test that the page itself writes
        if program == "rigs":
            module = Path("rigs/reliability.py")
        else:
            name = given[0] if program == "benchmarks" else Path(program).name
            module = Path("benchmarks") / f"{name}.py"
        assert "def main(" in (ROOT / module).read_text()
        return
    assert (ROOT / program).is_file()
    if "argparse" in (ROOT / program).read_text() and program.startswith("scripts/"):
        with pytest.raises(Parsed):
            script(Path(program).stem, *given)


@pytest.mark.parametrize(
    "command",
    [c for c in OTHERS if overrides(c) is None and not is_script(c)],
    ids=lambda c: f"{c.page}: {c.text[:60]}",
)
def test_every_other_command_is_known(command: Command) -> None:
    program, *given = command.words
    if program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
        assert given[0] in targets
    elif program == "pip":
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        extras = re.findall(r"medrobust\[([\w,]+)\]", " ".join(given))
        assert extras
        assert set(",".join(extras).split(",")) <= set(project["optional-dependencies"])
    else:
        assert program in ("source", "export", "cd", "wandb"), f"{HOW} {command}"


HOW = "Neither run nor composed. Mark its block with <!-- not run: REASON -->, or teach this test:"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "smaller"),
    [
        ("medrobust check-model model=biomedclip model.local_dir=WEIGHTS", True),
        ("medrobust benchmark-files --out FOLDER dataset=bloodmnist", False),
        ("medrobust convert FILE", False),
    ],
)
def test_subcommands_run_on_tiny_files(
    text: str, smaller: bool, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (command, *_) = [c for c in OTHERS if c.text.startswith(text)]
    monkeypatch.chdir(files)
    monkeypatch.setenv("MEDROBUST_DATA", "data")
    more = ["model.resolution=160"] if smaller else []
    done = answer(*command.words[1:], *more)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_store_becomes_the_report_that_the_pages_promise(workplace: Path) -> None:
    assert run(["corruption=gaussian_noise", "severity=3", *SMALL, "store.dir=STORE"]) == 0
    done = answer("report", "STORE", "--light")
    assert done.returncode == 0, done.stderr
    assert Path("outputs/report/report.html").is_file()


GIVEN = {
    "README.md": lambda: {
        "my_module": torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(2)),
        "images": np.stack([phantom(row, split="test") for row in range(2)]),
        "labels": [0, 1],
    },
    "docs/corruptions.md": lambda: {
        "RandomCorruption": RandomCorruption,
        "CorruptionTransform": CorruptionTransform,
        "albumentations": pytest.importorskip("albumentations"),
        "image": phantom(0, split="test"),
        "row": 3,
        "epoch": 1,
    },
}
"""What the Python of a page takes as given."""
PYTHON = [b for page in pages() for b in blocks(page) if b.language == "python" and not b.mark]


@pytest.mark.slow
@pytest.mark.parametrize("block", PYTHON, ids=lambda b: f"{b.page}: {b.text[:30]}")
def test_python_of_the_pages_runs(block, workplace: Path) -> None:
    names = GIVEN.get(block.page, dict)()
    if "my_module" in names:
        names["my_module"](torch.zeros(1, 3, 224, 224))
    exec(compile(ast.parse(block.text), block.page, "exec"), names)


@pytest.mark.parametrize(
    "file", ["docs/index.md", "conf/config.yaml", "conf/experiment/demonstration.yaml"]
)
def test_how_long_the_demonstration_takes_is_said_alike(file: str) -> None:
    """What the README measured is of the range that the other places name."""
    (seconds,) = re.findall(r"^make run .* (\d+) seconds", (ROOT / "README.md").read_text(), re.M)
    said = (ROOT / file).read_text(encoding="utf-8")
    assert 60 <= int(seconds) <= 120
    assert re.findall(r"(\w+ \w+ \w+) minutes?\b", said) == ["one to two"]


def test_what_is_not_run_says_why_and_is_little() -> None:
    assert all(len(command.mark) > len("not run: ") + 10 for command in MARKED)
    assert len(MARKED) <= 12, shlex.join(c.text for c in MARKED)
    assert len(RUNS) > 25
