from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import GatedRepoError, OfflineModeIsEnabled

from medrobust.exceptions import WeightsMismatchError, WeightsNotFoundError
from medrobust.models import OpenClip
from medrobust.models.hub import HubSource, Wanted
from medrobust.models.loading import Loaded

WEIGHTS = "open_clip_pytorch_model.bin"


class Plain(HubSource):
    FILES = (
        ("open_clip_config.json",),
        ("tokenizer.json", "vocab.txt"),
        ("open_clip_model.safetensors", WEIGHTS),
    )

    def load(self) -> Any:
        raise NotImplementedError


class Spread(Plain):
    """Weights in a folder of their repository, vocabulary in another repository."""

    def wanted(self) -> list[Wanted]:
        return [Wanted(("vocab.txt",), "other/words"), Wanted(("checkpoints/a/model.pt",))]


@pytest.fixture
def source() -> Plain:
    return Plain("biomedclip", "someone/model", license="MIT")


@pytest.fixture
def snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache of one commit with three files, and a hub that cannot be reached."""
    folder = tmp_path / "models--someone--model" / "snapshots" / "c0ffee"
    folder.mkdir(parents=True)
    for name in ("open_clip_config.json", "vocab.txt", WEIGHTS):
        (folder / name).write_text(name)

    def cached(hub_id: str, name: str, revision: str) -> str | None:
        path = folder / name
        return str(path) if path.exists() else None

    def offline(*args: object, **kwargs: object) -> object:
        raise OfflineModeIsEnabled("offline")

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", cached)
    monkeypatch.setattr(huggingface_hub, "model_info", offline)
    return folder


def test_cached_files_are_used_without_asking_the_hub(source: Plain, snapshot: Path) -> None:
    files = source.files()
    assert list(files) == ["open_clip_config.json", "vocab.txt", WEIGHTS]
    report = source.report(files, Loaded(0))
    assert (report.source, report.revision, report.license) == ("someone/model", "c0ffee", "MIT")


def test_without_files_and_hub_one_sentence_says_what_to_do(source: Plain, snapshot: Path) -> None:
    (snapshot / WEIGHTS).unlink()
    with pytest.raises(WeightsNotFoundError) as caught:
        source.files()
    for part in (WEIGHTS, "someone/model", "model.local_dir=FOLDER"):
        assert part in str(caught.value)


def test_a_folder_is_never_mixed_with_the_hub(
    snapshot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*args: object, **kwargs: object) -> str:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", forbidden)
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "vocab.txt").write_text("x")
    source = Plain("biomedclip", "someone/model", local_dir=str(folder))
    with pytest.raises(WeightsNotFoundError, match=WEIGHTS) as caught:
        source.files()
    assert "vocab.txt" not in str(caught.value)
    (folder / "open_clip_config.json").write_text("x")
    (folder / WEIGHTS).write_text("x")
    assert source.report(source.files(), Loaded(0)).source == "local"


def publish(*names: str) -> Any:
    """Return a hub that has these files."""
    siblings = [SimpleNamespace(rfilename=name) for name in names]
    return lambda hub_id, revision, timeout: SimpleNamespace(siblings=siblings)


def test_a_repository_without_a_file_is_told_from_a_hub_out_of_reach(
    source: Plain, snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (snapshot / WEIGHTS).unlink()
    monkeypatch.setattr(
        huggingface_hub, "model_info", publish("open_clip_config.json", "vocab.txt")
    )
    with pytest.raises(WeightsNotFoundError, match="not found in revision 'main' on the hub"):
        source.files()


def test_a_file_that_is_not_cached_brings_all_files_at_one_revision(
    source: Plain, snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = snapshot.parent / "beef"
    newer.mkdir()

    def download(hub_id: str, name: str, revision: str) -> str:
        (newer / name).write_text("new")
        return str(newer / name)

    monkeypatch.setattr(
        huggingface_hub, "model_info", publish("open_clip_config.json", "vocab.txt", WEIGHTS)
    )
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    (snapshot / WEIGHTS).unlink()
    assert {path.parent.name for path in source.files().values()} == {"beef"}


def error(kind: type[Exception]) -> Any:
    import httpx

    response = httpx.Response(403, request=httpx.Request("GET", "https://example.org"))
    return kind("no", response=response)  # type: ignore[call-arg]


def test_a_restricted_repository_says_how_to_get_access(
    source: Plain, snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gated(*args: object, **kwargs: object) -> str:
        raise error(GatedRepoError)

    (snapshot / WEIGHTS).unlink()
    monkeypatch.setattr(huggingface_hub, "model_info", gated)
    with pytest.raises(WeightsNotFoundError, match="hf auth login"):
        source.files()


def test_the_fingerprint_follows_every_byte_and_not_the_place(
    source: Plain, snapshot: Path
) -> None:
    before = source.weights_fingerprint()
    local = Plain("other", "x/y", local_dir=str(snapshot))
    assert local.weights_fingerprint() == before
    (snapshot / "vocab.txt").write_text("another")
    assert local.weights_fingerprint() != before


def test_files_of_two_repositories_are_found_in_one_folder_or_in_both_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("vocab.txt", "model.pt"):
        (tmp_path / name).write_text(name)
    local = Spread("m", "someone/model", local_dir=str(tmp_path))
    assert list(local.files()) == ["vocab.txt", "model.pt"]
    asked = []
    folder = tmp_path / "snapshots" / "c0ffee"
    (folder / "checkpoints" / "a").mkdir(parents=True)
    for name in ("vocab.txt", "checkpoints/a/model.pt"):
        (folder / name).write_text(name)

    def cached(hub_id: str, name: str, revision: str) -> str:
        asked.append((hub_id, name, revision))
        return str(folder / name)

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", cached)
    source = Spread("m", "someone/model", revision="v2")
    assert list(source.files()) == ["vocab.txt", "model.pt"]
    assert asked == [
        ("other/words", "vocab.txt", "main"),
        ("someone/model", "checkpoints/a/model.pt", "v2"),
    ]
    assert source.report(source.files(), Loaded(0)).revision == "c0ffee"


def test_weights_that_are_not_on_the_hub_say_where_they_are(tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFoundError) as caught:
        Spread("m", "", origin="the zip that a text file names").files()
    for part in ("model.pt", "vocab.txt", "the zip that a text file names", "other/words"):
        assert part in str(caught.value)


def test_a_general_loader_without_a_name_asks_for_one() -> None:
    for source in (Spread("m", ""), OpenClip("open_clip", "")):
        with pytest.raises(WeightsNotFoundError, match=r"model\.hub_id=ORG/NAME"):
            source.files()


def test_a_configuration_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_text("{}")
    with pytest.raises(WeightsMismatchError, match="vision_cfg"):
        OpenClip("m", "x/y", local_dir=str(tmp_path)).files()
    (tmp_path / "open_clip_config.json").write_text("{")
    with pytest.raises(WeightsMismatchError, match="no JSON"):
        OpenClip("m", "x/y", local_dir=str(tmp_path)).files()
