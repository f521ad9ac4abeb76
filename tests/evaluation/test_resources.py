"""What stays loaded between jobs: within a budget of memory, the longest unused goes first."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from grouped import changed
from tuning import experiment

from medrobust.adapters import NoAdapter
from medrobust.datasets import Phantoms
from medrobust.evaluation.resources import Resources, size_of
from medrobust.exceptions import ConfigurationError
from medrobust.models import PhantomClip
from medrobust.tasks.lookup import given
from medrobust.tasks.other_images import other_split


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


class Guesses:
    """A task whose head is made as a test says, from the split that it gets."""

    kind = "guesses"
    arrays: ClassVar = {}

    def __init__(self, of: Any) -> None:
        self.of = of

    def head(self, side: Any, description: Any, data: Any) -> Any:
        return self.of(data)


@pytest.mark.parametrize(
    "read",
    [
        lambda data: data.images.mean(),
        lambda data: np.mean(data.images),
        lambda data: np.asarray(data.images, dtype=np.float32),
        lambda data: data.images[0],
        lambda data: list(data.images),
        lambda data: data.images.reshape(len(data), -1),
    ],
)
def test_a_head_that_serves_several_splits_cannot_be_made_from_images_of_one(
    tmp_path: Path, read: Any
) -> None:
    asked = experiment(tmp_path, adapter=NoAdapter(), tuning=None).model
    data = Phantoms(per_class=1).load("test")
    with given(Guesses(read)), pytest.raises(ConfigurationError, match="`outputs_of"):
        Resources().head(asked, {"kind": "guesses"}, data)


def test_a_head_is_made_from_facts_the_shape_of_images_and_a_split_that_it_names(
    tmp_path: Path,
) -> None:
    asked = experiment(tmp_path, adapter=NoAdapter(), tuning=None).model
    data, resources = Phantoms(per_class=1).load("val"), Resources()

    def made(known: Any) -> Any:
        assert (known.images.shape, known.images.dtype) == (data.images.shape, np.uint8)
        assert len(known.images) == len(known) == len(data)
        assert known.labels is data.labels
        return other_split(known, "val", "guesses").images

    with given(Guesses(made)):
        assert resources.head(asked, {"kind": "guesses"}, data) is data.images
    data.images[0]  # itself it stays as it was
