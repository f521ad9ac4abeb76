"""Heads that pool are fitted on shots of a real small model: places, and lesions of patients."""

import numpy as np
import pytest
import torch

from medrobust.adapters import AttentionMil, AttentionProbe
from medrobust.datasets import Phantoms, PhantomWidefield
from medrobust.datasets.sampling import FewShots
from medrobust.models import PhantomClip
from medrobust.tuning.probe import fit_probes

SIZES = {"micro_batch": 4, "batch_size": 5}


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    return PhantomClip(variant="small").load()


def test_places_and_lesions_of_shots_are_pooled(model: torch.nn.Module, tmp_path) -> None:
    plain = Phantoms(per_class=1, limit=6, cache_dir=str(tmp_path)).load()
    lesions = PhantomWidefield(per_class=1, cache_dir=str(tmp_path)).load()
    probe = AttentionProbe(steps=3)
    head = fit_probes(probe, model, [FewShots(plain, None, ())], "phantomclip", **SIZES)["phantoms"]
    assert int(head.block) == model.patch_blocks
    again = fit_probes(
        probe, model, [FewShots(plain, None, ())], "phantomclip", micro_batch=4, batch_size=2
    )["phantoms"]
    for name, value in head.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), "whatever is read at a time"
    for by, count in (("groups", 2), ("image", len(np.unique(lesions.metadata[:, -1])))):
        mil = AttentionMil(steps=3, by=by)
        (fitted,) = fit_probes(
            mil, model, [FewShots(lesions, None, ())], "phantomclip", **SIZES
        ).values()
        assert fitted.column == ("" if by == "groups" else by)
        assert len(fitted.weight) == 2
        assert count >= 2
