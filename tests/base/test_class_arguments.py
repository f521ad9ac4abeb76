"""Arguments of classes, read from their source: what Python itself says of them."""

import inspect
import re
from importlib import import_module

import pytest

from medrobust.base.class_arguments import OWN_CLASSES, class_arguments
from medrobust.base.class_sources import source_class
from medrobust.base.conf_folder import conf_folder

FILES = [file.read_text(encoding="utf-8") for file in conf_folder().rglob("*.yaml")]
TARGETS = sorted(set(re.findall(r"_target_:\s*([\w.]+)", "\n".join(FILES))))
OURS = [target for target in TARGETS if OWN_CLASSES.fullmatch(target)]


@pytest.mark.slow
@pytest.mark.parametrize("target", OURS)
def test_the_source_says_what_the_signature_says(target: str) -> None:
    module, _, name = target.rpartition(".")
    parameters = inspect.signature(getattr(import_module(module), name)).parameters.values()
    assert [argument.name for argument in class_arguments(target)] == [
        parameter.name for parameter in parameters
    ]
    assert [argument.name for argument in class_arguments(target, partial=True)] == [
        parameter.name for parameter in parameters if parameter.default is not parameter.empty
    ]


def test_a_class_is_found_where_it_is_defined() -> None:
    found = source_class("medrobust.models.OpenClip")
    assert found is not None
    assert (found.module, found.node.name) == ("medrobust.models.open_clip", "OpenClip")


def test_bases_give_their_arguments_and_what_they_say_of_them() -> None:
    meanings = {argument.name: argument.meaning for argument in class_arguments(FOLDER)}
    assert meanings["fit"] == '"pad", "crop" or "squash" (`Framing`)'  # said by the base class


FOLDER = "medrobust.datasets.Folder"


@pytest.mark.parametrize(
    "target", ["os.path.Sep", "medrobust.datasets.NoSuchSet", "medrobust.nowhere.Folder"]
)
def test_what_is_no_class_of_ours_has_no_arguments(target: str) -> None:
    assert class_arguments(target) == []
