import re
import subprocess
import sys
from pathlib import Path

import pytest

from medrobust.base.conf_folder import conf_folder, option_files

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")


def test_the_table_of_sets_is_the_one_that_the_facts_make() -> None:
    script = [sys.executable, str(ROOT / "scripts" / "dataset_table.py"), "--check"]
    assert subprocess.run(script, check=False).returncode == 0, "run scripts/dataset_table.py"


@pytest.mark.slow
@pytest.mark.parametrize("name", [file.stem for file in option_files(conf_folder(), "dataset")])
def test_every_published_option_is_on_the_page(name: str) -> None:
    text = (conf_folder() / "dataset" / f"{name}.yaml").read_text(encoding="utf-8")
    if re.search("MedMNIST|MedIMeta|_collection", text):
        assert f"`{name}`" in PAGE or f"dataset={name}" in PAGE
