"""The key of a data folder."""

import threading
import time
from pathlib import Path

import pytest

from medrobust.datasets.own.pseudonyms import KEY_NAME, data_key
from medrobust.exceptions import ConfigurationError


def test_a_key_that_cannot_be_read_is_named_with_its_folder_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / KEY_NAME).mkdir()
    with pytest.raises(ConfigurationError, match=r"dataset\.key_file=<the key") as caught:
        data_key(tmp_path)
    assert f"{KEY_NAME} that hides identifiers (Is a directory), in {tmp_path}." in str(
        caught.value
    )
    assert str(tmp_path) not in caught.value.for_records


def test_a_key_that_another_process_is_about_to_write_is_waited_for(tmp_path: Path) -> None:
    file = tmp_path / KEY_NAME
    file.touch()  # opened by the other process, nothing in it yet

    def write() -> None:
        time.sleep(0.1)
        file.write_text("ab" * 32 + "\n")

    other = threading.Thread(target=write)
    other.start()
    assert data_key(tmp_path) == bytes.fromhex("ab" * 32)
    other.join()
