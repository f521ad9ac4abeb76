"""Paths are left out of values and commands, in whatever form they are typed."""

import shlex

import pytest

from medrobust.base.redaction import command_without_paths, without_paths
from medrobust.cli.hydra_app import folder_name

PLACES = (
    "Anna/c/mine.yaml",
    "Anna/mine.yml",
    "./Anna/mine.yaml",
    "../Anna/mine.yaml",
    "../Anna",
    "/home/Anna/mine.yaml",
    "/home/Anna B/mine.yaml",
    "~/Anna/mine.yaml",
    "C:\\Anna\\mine.yaml",
    "C:/Anna/mine.yaml",
    "\\\\Anna\\share\\mine.yaml",
    "Anna/texts.txt",
    "Anna\\texts.csv",
)
PLAIN = ("imagenet_c", "roodmri", "mine-1a2b3c4d", "clip_vit_b16,biomedclip", "hf-hub:org/model")


@pytest.mark.parametrize("place", PLACES)
def test_a_path_is_hidden_under_any_key(place: str) -> None:
    assert without_paths({"corruption": {"suite": place, "name": "contrast"}}) == {
        "corruption": {"suite": "<path>", "name": "contrast"}
    }
    for typed in (
        f"corruption.suite={place}",
        f"corruption.suite='{place}'",
        f"corruption.suite=imagenet_c,{place}",
        f"corruption.suite={place},imagenet_c",
        f"corruption.suite=[{place}]",
        f"corruption={{suite: {place}}}",
        f"corruption={{name: contrast, suite:{place}}}",
        f"corruption={{suite: '{place}', name: contrast}}",
    ):
        command = command_without_paths(f"run.py -m {shlex.quote(typed)} severity=s1")
        assert command == f"run.py -m {typed.partition('=')[0]}=<path> severity=s1"
        name = folder_name(3, typed, "severity=s1")
        assert name.endswith(",severity=s1")
        assert "Anna" not in name or place == "../Anna"  # which is the last part itself


@pytest.mark.parametrize("word", PLAIN)
def test_what_is_no_path_stays(word: str) -> None:
    assert without_paths({"corruption": {"suite": word}}) == {"corruption": {"suite": word}}
    command = f"run.py corruption.suite={shlex.quote(word)} 'x={{suite: {word}}}'"
    assert command_without_paths(command) == command


def test_a_place_that_the_environment_names_and_one_in_a_table_are_hidden() -> None:
    command = "run.py 'corruption.suite=${oc.env:HOME}/M/m.yaml' 'dataset={csv: M/l.csv}' seed=1"
    assert command_without_paths(command) == "run.py corruption.suite=<path> dataset=<path> seed=1"
