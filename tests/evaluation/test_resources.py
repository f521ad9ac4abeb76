"""What stays loaded between jobs: within a budget of memory, the longest unused goes first."""

from dataclasses import replace
from pathlib import Path

from tuning import experiment

from medrobust.adapters import NoAdapter
from medrobust.evaluation.resources import Resources, size_of
from medrobust.models import PhantomClip


def test_models_are_kept_within_the_budget_and_the_longest_unused_goes(tmp_path: Path) -> None:
    jobs = [
        replace(
            experiment(tmp_path, adapter=NoAdapter(), tuning=None),
            model=PhantomClip(name="phantomclip_small", variant="small", micro_batch=batch),
        )
        for batch in (1, 2, 3)
    ]
    size = size_of(Resources().model(jobs[0]))
    assert size > 100_000
    resources = Resources(model_bytes=int(4.5 * size))
    first, second, third = (resources.model(job) for job in jobs)
    assert resources.model(jobs[0]) is first
    assert resources.model(jobs[2]) is third
    tight = Resources(model_bytes=int(2.5 * size))
    first, second = tight.model(jobs[0]), tight.model(jobs[1])
    assert tight.model(jobs[0]) is first, "used last, so that the second goes"
    assert tight.model(jobs[2]) is not third
    assert tight.model(jobs[0]) is first
    assert tight.model(jobs[1]) is not second
    tiny = Resources(model_bytes=1)
    only = tiny.model(jobs[0])
    assert tiny.model(jobs[0]) is only, "the one in use stays whatever it takes"
