"""The key of a data folder."""

import threading
import time
from pathlib import Path

from medrobust.datasets.own.pseudonyms import KEY_NAME, data_key


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
