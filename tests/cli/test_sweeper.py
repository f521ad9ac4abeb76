"""A sweep composes each of its jobs once, and tells their configurations apart."""

from pathlib import Path

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from omegaconf import OmegaConf
from run_entry import medrobust

from medrobust.cli import sweeper

SWEEP = ("-m", "dataset=bloodmnist", "dataset.root=nowhere", "seed=0,1,2", "hydra.sweep.dir=s")
"""Three jobs that end at the first look: their data are not there."""


@pytest.mark.slow
@pytest.mark.parametrize(("most", "compositions"), [(200, 3), (1, 5)])
def test_a_job_of_a_sweep_is_composed_once(
    most: int, compositions: int, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    composed: list[list[str]] = []
    compose = ConfigLoaderImpl.load_sweep_config

    def counted(self, master_config, sweep_overrides):
        composed.append(sweep_overrides)
        return compose(self, master_config, sweep_overrides)

    monkeypatch.setattr(ConfigLoaderImpl, "load_sweep_config", counted)
    monkeypatch.setattr(sweeper, "MOST", most)
    assert medrobust(*SWEEP) == 1
    assert len(composed) == compositions
    files = sorted(Path("s").glob("*/.hydra"))
    for number, folder in enumerate(files):
        assert OmegaConf.load(folder / "config.yaml").seed == number
        assert OmegaConf.load(folder / "hydra.yaml").hydra.job.num == number
    assert len(files) == 3
