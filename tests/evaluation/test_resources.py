"""What stays loaded between jobs: within a budget of memory, the longest unused goes first."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from grouped import changed
from tuning import experiment

from medrobust.adapters import NoAdapter
from medrobust.evaluation.resources import Resources, size_of
from medrobust.models import PhantomClip


def test_models_are_kept_within_the_budget_and_the_longest_unused_goes(tmp_path: Path) -> None:
    jobs = [
        changed(
            experiment(tmp_path, adapter=NoAdapter(), tuning=None),
            model=PhantomClip(name="phantomclip_small", variant="small", micro_batch=batch),
        )
        for batch in (1, 2, 3)
    ]
    size = size_of(Resources().model(jobs[0].model))
    assert size > 100_000
    resources = Resources(model_bytes=int(4.5 * size))
    first, second, third = (resources.model(job.model) for job in jobs)
    assert resources.model(jobs[0].model) is first
    assert resources.model(jobs[2].model) is third
    tight = Resources(model_bytes=int(2.5 * size))
    first, second = tight.model(jobs[0].model), tight.model(jobs[1].model)
    assert tight.model(jobs[0].model) is first, "used last, so that the second goes"
    assert tight.model(jobs[2].model) is not third
    assert tight.model(jobs[0].model) is first
    assert tight.model(jobs[1].model) is not second
    tiny = Resources(model_bytes=1)
    only = tiny.model(jobs[0].model)
    assert tiny.model(jobs[0].model) is only, "the one in use stays whatever it takes"


@dataclass(frozen=True)
class Opened:
    """What a file held."""

    held: str
    other_split: Any = None


@dataclass(frozen=True)
class Beside:
    """A data set whose only file has a relative path."""

    file: str = "images"
    split: str = "test"

    def load(self, split: str | None = None) -> Opened:
        return Opened(Path(self.file).read_text(encoding="utf-8"))


def test_one_relative_path_in_two_folders_is_two_data_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resources, found = Resources(), []
    for name in ("one", "two", "one"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "images").write_text(name, encoding="utf-8")
        monkeypatch.chdir(folder)
        found.append(resources.image_set(Beside()))
    assert [one.held for one in found] == ["one", "two", "one"]
    assert found[0] is found[2], "kept, and not read again"
