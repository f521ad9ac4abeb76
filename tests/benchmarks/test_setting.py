"""What the benchmarks hand to a job in place of configuration."""

from pathlib import Path

from benchmarks.main_job import Numbered
from benchmarks.setting import Columns, experiment
from medrobust.corruptions import Corruption
from medrobust.datasets import Phantoms
from medrobust.evaluation.plan import check
from medrobust.models import PhantomClip


def test_a_job_of_several_columns_is_planned_as_one_of_a_file(tmp_path: Path):
    columns = Columns((Corruption("gaussian_noise"), Numbered("brightness", number=1)))
    job = experiment(PhantomClip("small"), Phantoms(limit=20), columns, (5,), tmp_path)
    ((source, planned),) = check(job)
    assert source == Phantoms(limit=20)
    assert planned == list(columns.columns) or planned == columns.columns
