"""The adjustment by hand, an empty dictionary, a planted confounder, and an artifact."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional
from tuning import experiment, tuning

from medrobust.adapters import Intervene, NuisanceProjection
from medrobust.adapters.intervention import Intervention, clustered
from medrobust.adapters.online.nuisance import directions
from medrobust.datasets import PhantomDomains
from medrobust.engine.loader import channel_first
from medrobust.evaluation.adaptation import adapted
from medrobust.evaluation.resources import Resources
from medrobust.evaluation.store import Store
from medrobust.exceptions import ConfigurationError, WeightsMismatchError
from medrobust.models import PhantomClip
from medrobust.models.vision import VisionModel
from medrobust.tasks.segmentation import Segmentation


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def made(rows: int = 5, width: int = 7, *, strength: float = 1.0) -> Intervention:
    module = Intervention(drawn(rows, width, seed=1), 3.0)
    with torch.no_grad():
        module.strengths.fill_(strength)
        module.prior.copy_(torch.rand(rows, generator=torch.Generator().manual_seed(2)))
        module.prior /= module.prior.sum()
    return module


def test_the_adjustment_is_the_formula() -> None:
    module, x = made(), drawn(4, 7)
    rows, prior = module.dictionary.double().numpy(), module.prior.double().numpy()
    for own, found in zip(x.double().numpy(), module(x).detach(), strict=True):
        length = np.linalg.norm(own)
        alpha = np.exp(3.0 * rows @ own / length)
        alpha /= alpha.sum()
        wanted = own - length * sum(alpha[k] * rows[k] for k in range(5))
        wanted = wanted + length * sum(prior[k] * rows[k] for k in range(5))
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_an_empty_dictionary_and_strengths_of_zero_leave_embeddings_to_the_bit() -> None:
    x = drawn(4, 7)
    assert torch.equal(Intervention(torch.zeros(0, 7), 10.0)(x), x)
    assert torch.equal(made(strength=0.0)(x), x)
    assert not torch.equal(made()(x), x)


def test_the_order_of_the_dictionary_changes_no_bit() -> None:
    rows, x = drawn(6, 7, seed=1), drawn(4, 7)
    found = []
    for order in (torch.arange(6), torch.tensor([3, 0, 5, 1, 4, 2])):
        module = Intervention(rows[order], 3.0)
        with torch.no_grad():
            module.strengths.fill_(0.7)
        found.append(module(x))
    assert torch.equal(*found)


def test_where_p_is_the_mean_of_attention_the_mean_stays() -> None:
    module, x = made(), functional.normalize(drawn(50, 7), dim=-1)
    with torch.no_grad():
        module.prior.copy_(module.attention(x).mean(dim=0))
        torch.testing.assert_close(module(x).mean(dim=0), x.mean(dim=0), atol=1e-6, rtol=0)


def test_clusters_are_found_whatever_the_order_of_places() -> None:
    centres = functional.normalize(drawn(3, 6, seed=3), dim=-1)
    places = (centres.repeat(40, 1) + 0.01 * drawn(120, 6)).contiguous()
    wanted = torch.stack([places[k::3].mean(dim=0) for k in range(3)]) - places.mean(dim=0)
    found = clustered(places, 3)
    distances = torch.cdist(found, wanted)
    assert sorted(distances.argmin(dim=1).tolist()) == [0, 1, 2]
    assert distances.min(dim=1).values.max() < 1e-4
    with pytest.raises(ConfigurationError, match="have 120 places that are no candidates"):
        clustered(places, 121)


def small() -> Any:
    return PhantomClip(name="phantomclip_small", variant="small", micro_batch=8).load()


def auc_of(scores: np.ndarray, marked: np.ndarray) -> float:
    ranks = scores.argsort().argsort() + 1
    count = int(marked.sum())
    above = ranks[marked].sum() - count * (count + 1) / 2
    return float(above / (count * (len(marked) - count)))


@pytest.mark.slow
def test_a_planted_mark_is_read_off_places_before_the_adjustment_and_not_after() -> None:
    """Places under the mark stand apart along their own mean direction; adjusted ones do not."""
    data = PhantomDomains(marked=True, target="masks", per_class=6).load("train")
    model = small()
    images = torch.from_numpy(channel_first(data.images[:]))
    with torch.no_grad():
        level = model.encode_patches(model.preprocess(images), [model.patch_blocks])
        places = functional.normalize(level[model.patch_blocks].joint(), dim=-1)[:, 0]
    marked = (images[:, :, 10:30, 10:30].float().mean(dim=(1, 2, 3)) > 230).numpy()
    assert 5 < marked.sum() < len(marked) - 5
    away = places[marked].mean(dim=0) - places[~marked].mean(dim=0)
    module = Intervention(torch.stack([away / 2, -away / 2]), 200.0)
    with torch.no_grad():
        module.strengths.fill_(1.0)
        module.prior.copy_(module.attention(places).mean(dim=0))
        after = module(places)
    before = auc_of((places @ away).numpy(), marked)
    left = after[marked].mean(dim=0) - after[~marked].mean(dim=0)
    assert before > 0.95
    assert left.norm() < 0.35 * away.norm()


def test_strengths_are_tuned_by_masks_and_the_artifact_gives_the_same_model(tmp_path: Path) -> None:
    recipe = Intervene(clusters=3)
    given = experiment(
        tmp_path,
        adapter=recipe,
        tuning=tuning(shots=4, epochs=2, batch_size=4),
        datasets=(PhantomDomains(target="masks", per_class=2),),
        task=Segmentation("words"),
    )
    resources = Resources()
    done = adapted(given, resources, Store(given.where.store))
    adapter = done.model.adapter
    assert adapter.kind == "intervention"
    model = resources.model(done.model)
    module = model.adjusts
    assert module.dictionary.shape[0] == 8 + 3
    assert float(module.prior.sum()) == pytest.approx(1, abs=1e-5)
    assert bool((module.strengths != 0).all())
    plain = small()
    adapter.attach(plain)
    pixels = plain.preprocess(torch.full((1, 3, 64, 64), 90, dtype=torch.uint8))
    untouched = small()
    with torch.no_grad():
        assert torch.equal(plain.encode_image(pixels), model.encode_image(pixels))
        assert not torch.equal(plain.encode_image(pixels), untouched.encode_image(pixels))
        one, other = (m.encode_patches(pixels, [2])[2].joint() for m in (plain, untouched))
    assert not torch.equal(one, other)
    recipe.detach(plain)
    with torch.no_grad():
        assert torch.equal(plain.encode_image(pixels), untouched.encode_image(pixels))


def test_a_projection_takes_the_directions_of_texts_out_of_images_and_places() -> None:
    chosen = NuisanceProjection(directions=2)
    model = chosen.attach(small())
    said = [one.replace("{modality}", "medical image") for one in (*chosen.texts, chosen.plain)]
    texts = model.encode_text(said).double().numpy()
    away = torch.from_numpy(directions(texts[:-1] - texts[-1], 2)).float()
    pixels = model.preprocess(torch.full((2, 3, 64, 64), 90, dtype=torch.uint8))
    with torch.no_grad():
        features, patches = model.encode_image_and_patches(pixels, [2])
    assert (features @ away.T).abs().max() < 1e-6
    assert (patches[2].joint() @ away.T).abs().max() < 1e-4
    assert (small().encode_image(pixels) @ away.T).abs().max() > 1e-3


def test_what_cannot_be_adjusted_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="has an empty dictionary"):
        Intervene(texts=(), clusters=0)
    with pytest.raises(ConfigurationError, match=r"adapter\.clusters=-1"):
        Intervene(clusters=-1)
    with pytest.raises(ConfigurationError, match=r"adapter\.directions=9"):
        NuisanceProjection(directions=9)
    tower = VisionModel(torch.nn.Identity(), None, None)
    with pytest.raises(ConfigurationError, match="VisionModel reads none"):
        Intervene().attach(tower)
    with pytest.raises(ConfigurationError, match="VisionModel reads none"):
        NuisanceProjection().attach(tower)
    model = small()
    Intervene().attach(model)
    with pytest.raises(WeightsMismatchError, match="numbers wide"):
        Intervene().load_state(model, {"dictionary": torch.zeros(2, 3)})
    said = Intervene().description()
    assert Intervene.described(said, "x").description() == said
    with pytest.raises(WeightsMismatchError, match="describes no intervention: see clusters"):
        Intervene.described(said | {"clusters": "8"}, "x")
