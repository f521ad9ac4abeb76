from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import write_random_biomedclip, write_random_clip
from families import FAMILIES, Family


@pytest.fixture(scope="session")
def biomedclip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A folder in the published layout, and the open_clip model with the same weights."""
    folder = tmp_path_factory.mktemp("biomedclip")
    return folder, write_random_biomedclip(folder)


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A folder in the published layout, and the transformers model with the same weights."""
    folder = tmp_path_factory.mktemp("clip")
    return folder, write_random_clip(folder)


class Shelf(dict[str, tuple[Path, Family]]):
    """Folder and family by name, each written at first use; tests leave the folders as they are."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root

    def __missing__(self, name: str) -> tuple[Path, Family]:
        folder = self.root / name
        folder.mkdir()
        self[name] = folder, FAMILIES[name](folder)
        return self[name]

    def source(self, name: str) -> Any:
        folder, family = self[name]
        return family.source(str(folder))


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    return Shelf(tmp_path_factory.mktemp("families"))


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail on any attempt to open a connection."""
    import socket

    def refuse(*args: object) -> None:
        raise AssertionError(f"a test of models tried to connect to {args[1:]}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    return


@pytest.fixture
def images() -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randint(0, 256, (5, 3, 224, 224), dtype=torch.uint8, generator=generator)
