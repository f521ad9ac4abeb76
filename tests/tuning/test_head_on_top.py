"""An encoder without text is tuned by what needs none, and a fitted head answers on top of it."""

import json
from pathlib import Path

import encoders
import numpy as np
import pytest
import torch
from run_entry import medrobust, rows

from medrobust.adapters import Tuned
from medrobust.datasets import Phantoms
from medrobust.engine.loader import channel_first
from medrobust.evaluation.store import Store
from medrobust.exceptions import ConfigurationError
from medrobust.models import VisionEncoder
from medrobust.tuning import Tuning

RUN = (
    *("model=rad_dino", "model.local_dir=tower", "model.resolution=null", "adapter=lora_corrupted"),
    *("dataset=phantoms_site_b", "dataset.per_class=3", "corruption=gaussian_noise", "severity=3"),
    *("validation=false", "tuning.shots=2", "tuning.epochs=1", "adapter.rank=2", "readings=none"),
)


def test_consistency_tunes_an_encoder_and_neighbours_answer_on_top(workplace, capsys) -> None:
    encoders.rad_dino(Path("tower"))
    asked = (*RUN, "tuning.head=knn", "store.features=true")
    assert medrobust(*asked) == 1
    assert "objective=class_texts needs a model with a text side" in capsys.readouterr().err
    asked = (*asked, "tuning.objective={consistency:1,same_patient:0.5}")
    assert medrobust(*asked) == 1
    assert "pass tuning.choose=last" in capsys.readouterr().err
    assert medrobust(*asked, "tuning.choose=last", "hydra.run.dir=out") == 0
    name = "lora_corrupted 2 shots, consistency + 0.5 same_patient, knn draw 0"
    assert {row["adapter"] for row in rows("out/results.csv")} == {name}
    (folder,) = Path("outputs/store/adapters").iterdir()
    record = json.loads((folder / "medrobust.json").read_text())
    assert record["task"]["head"]["head"] == "knn"

    # The head answers from the features of the tuned tower, as it was kept and loaded anew.
    store = Store(Path("outputs/store"))
    head = Tuned(str(folder)).head("phantoms_site_b")
    for cell in store.cells():
        features = store.read_features(cell.record["encoding_fingerprint"])
        own = head.logits(torch.from_numpy(np.array(features))).numpy()
        assert np.allclose(own, cell.arrays["logits"], atol=1e-5)

    # It keeps the shots as that tower sees them, which is not how the published one does.
    shots = Phantoms(name="phantoms_site_b", site="b", per_class=3).load("train")
    drawn = [list(shots.ids).index(name) for name in record["data"][0]["shots"]]
    pixels = torch.from_numpy(channel_first(shots.images[np.array(drawn)]))
    model = VisionEncoder(name="tower", hub_id="", local_dir="tower").load()
    with torch.no_grad():
        before = model.encode_image(model.preprocess(pixels))
        after = Tuned(str(folder)).attach(model).encode_image(model.preprocess(pixels))
    assert torch.allclose(head.features, after, atol=1e-5)
    assert not torch.allclose(before, after, atol=1e-5)


def test_a_head_on_top_is_refused_where_none_can_be() -> None:
    with pytest.raises(ConfigurationError, match=r"tuning\.head='svm' is none of linear_probe, kn"):
        Tuning(torch.optim.AdamW, shots=1, head="svm")
    with pytest.raises(ConfigurationError, match=r"tuning\.interpolation=0\.5 evaluates others"):
        Tuning(torch.optim.AdamW, shots=1, head="knn", interpolation=0.5)
