"""Words that are jobs of their own: through each way to start the package, with and without it."""

import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import hydra
import pytest
from run_entry import answer

import medrobust
from medrobust.base.program import program
from medrobust.cli.subcommands import SUBCOMMANDS
from medrobust.models.robustmedclip import Vision

ROOT = Path(__file__).parents[2]
CONSOLE = Path(sys.executable).with_name("medrobust")
DOORS = {
    "report": "report",
    "audit_data": "audit",
    "prefetch": "prefetch",
    "merge_stores": "merge",
    "convert_checkpoint": "convert",
    "export_images": "export",
    "check_model": "check-model",
    "dicom_sheet": "sheet",
    "make_benchmark": "benchmark-files",
    "wandb_workspace": "workspace",
}
"""Former name of a script -> the word."""


def started(*command: object, folder: Path, path: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a command where nothing of the checkout is, the package found at `path`."""
    environment = {**os.environ, "PYTHONPATH": str(path), "COLUMNS": "100"}
    words = [str(word) for word in command]
    return subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a wheel puts into site-packages: the package, and conf/ inside it."""
    root = tmp_path_factory.mktemp("installed")
    ignored = shutil.ignore_patterns("__pycache__", "local")
    shutil.copytree(ROOT / "medrobust", root / "medrobust", ignore=ignored)
    shutil.copytree(ROOT / "conf", root / "medrobust" / "conf", ignore=ignored)
    return root


def test_the_version_is_that_of_the_package_with_that_of_hydra_beside_it(workplace: Path) -> None:
    expected = f"medrobust {medrobust.__version__}, Hydra {hydra.__version__}\n"
    assert answer("--version").stdout == expected
    assert answer("model=phantomclip", "--version").stdout == expected


ALL_HELP = """
import contextlib, io, json, sys
from medrobust.cli import main
found = {}
for word in sys.argv[1:]:
    sys.argv[1:] = [word, "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        try:
            main()
        except SystemExit as done:
            found[word] = (done.code, said.getvalue())
print(json.dumps(found))
"""
"""What the console script does, for one word after the other."""


@pytest.mark.parametrize("word", SUBCOMMANDS)
def test_help_of_a_word_says_what_can_be_typed(word: str, workplace: Path) -> None:
    done = answer(word, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: medrobust {word} ")
    assert f"\n  medrobust {word} " in done.stdout.partition("\nexample")[2]


def test_an_installed_package_has_every_word(tmp_path: Path, installed: Path) -> None:
    done = started(*(sys.executable, "-c", ALL_HELP, *SUBCOMMANDS), folder=tmp_path, path=installed)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for word in SUBCOMMANDS:
        status, said = found[word]
        assert (status, said.startswith(f"usage: medrobust {word} ")) == (0, True), word


@pytest.mark.parametrize("start", [(sys.executable, "-m", "medrobust"), (CONSOLE,)], ids=str)
def test_every_way_to_start_the_program_takes_words(
    start: tuple[object, ...], tmp_path: Path
) -> None:
    if start == (CONSOLE,) and not CONSOLE.is_file():
        pytest.skip("medrobust is not installed")
    word = next(iter(SUBCOMMANDS))
    done = started(*start, word, "--help", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: medrobust {word} ")


def test_an_installed_package_names_the_program_that_it_has(
    tmp_path: Path, installed: Path
) -> None:
    assert program() == "python run.py"
    done = started(sys.executable, "-m", "medrobust", "--help", folder=tmp_path, path=installed)
    assert "run.py" not in done.stdout
    assert "  medrobust model=biomedclip corruption=gaussian_noise" in done.stdout
    for word, subcommand in SUBCOMMANDS.items():
        assert f"  {word:<15}  {subcommand.headline}\n" in done.stdout


@pytest.mark.parametrize("script", DOORS)
def test_a_former_script_is_a_door_to_its_word(
    script: str, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    file = ROOT / "scripts" / f"{script}.py"
    statements = file.read_text(encoding="utf-8").partition('"""\n')[2].split("\n")
    assert len([line for line in statements if line]) == 3
    monkeypatch.setattr(sys, "argv", [str(file), "--help"])
    with pytest.raises(SystemExit) as done:
        runpy.run_path(str(file), run_name="__main__")
    assert done.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: medrobust {DOORS[script]} ")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("report nowhere", "nowhere holds no cells."),
        ("verify nowhere", "nowhere holds no cells."),
        ("verify nowhere 3", "'3' is no KEY=VALUE"),
        ("merge nowhere --into joint", "nowhere"),
        ("audit bloodmnst", "unknown data set 'bloodmnst'. Did you mean 'bloodmnist'"),
        ("sheet nowhere sheet.png", "folder nowhere not found."),
        ("sheet . sheet.png --window wide", "--window wide: write header, range, stored or"),
        ("export out dataset=phantomz", "unknown dataset 'phantomz'. Did you mean 'phantoms'"),
        ("export out dataset=robustmedclip_12", "is a collection: export its members one by one."),
        ("benchmark-files --out out datset.split=x", "Did you mean 'dataset.split'?"),
        ("prefetch box", "nothing to fetch: name model=A,B or dataset=C,D or both."),
        ("prefetch box --check", "manifest.json not found: nothing was fetched to there."),
        ("check-model model=biomedclipp", "unknown model 'biomedclipp'. Did you mean 'biomedclip'"),
        ("convert nowhere.pt", "file nowhere.pt not found."),
        ("monitor update nowhere new.csv", "nowhere holds no monitor"),
        ("monitor fti", "unknown job of monitor 'fti'. Did you mean 'fit'"),
        ("workspace nowhere", "summary.csv cannot be read"),
        ("reprot outputs/store", "unknown command 'reprot'. Did you mean 'report'"),
    ],
)
def test_a_wrong_word_or_place_is_one_sentence(workplace: Path, typed: str, said: str) -> None:
    done = answer(*typed.split())
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_word_takes_options_of_ones_own(workplace: Path) -> None:
    (workplace / "mine" / "dataset").mkdir(parents=True)
    file = workplace / "mine" / "dataset" / "few.yaml"
    file.write_text("# Few phantoms\n_target_: medrobust.datasets.Phantoms\nper_class: 1\n")
    done = answer("audit", "few", "--config-dir", "mine", "--fast")
    assert done.returncode == 0, done.stderr
    assert "test: 20 images of 224" in done.stdout


def test_convert_offers_every_tower_of_robustmedclip() -> None:
    assert f"{{{','.join(get_args(Vision))}}}" in answer("convert", "--help").stdout
