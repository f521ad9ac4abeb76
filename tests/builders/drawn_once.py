"""A phantom that one test has drawn is read by the others: they draw the same few ones.

What `from ... import phantom` gives a test module is the function itself, which draws.
"""

import os
import pickle
import threading
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import pytest


def remember(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Keep each drawn image in `folder`, which processes may share."""
    from medrobust.datasets.phantoms import lesions, source, widefield

    folder.mkdir(exist_ok=True)
    for module, name in (
        (source, "phantom"),
        (lesions, "lesion_phantom"),
        (widefield, "widefield_phantom"),
    ):
        patch.setattr(module, name, _kept(getattr(module, name), folder))


def _kept(draw: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    @wraps(draw)
    def drawn(row: int, **key: Any) -> Any:
        file = folder / "-".join(map(str, (draw.__name__, row, *sorted(key.items()))))
        try:
            return pickle.loads(file.read_bytes())
        except FileNotFoundError:
            made = draw(row, **key)
        part = file.with_name(f"{file.name}.{os.getpid()}.{threading.get_ident()}")
        part.write_bytes(pickle.dumps(made))
        part.replace(file)
        return made

    return drawn
