"""Attention that pools: formula, loss and gradient by hand, and what may not change an answer."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit, log_softmax, softmax
from stores import data_record
from torch.nn import functional

from medrobust.adapters import AttentionMil, AttentionProbe, LinearProbe
from medrobust.adapters.attention import Pooled, bags, objective, pooled, pooled_of
from medrobust.base.bags import labels_of, patients_of
from medrobust.base.fingerprints import fingerprint
from medrobust.base.targets import Boxes, Labels, WindowLabels
from medrobust.datasets.sampling import FewShots
from medrobust.exceptions import ConfigurationError, NotFiniteError
from medrobust.reporting.measure import variant
from medrobust.tasks.classification.heads import heads
from medrobust.tasks.classification.logits import BagHead, PlacesHead
from medrobust.tasks.heads import SplitHead
from medrobust.tasks.patches import PatchHead
from medrobust.tuning.planned import adapter_fingerprint
from medrobust.tuning.stage import Stage

KIND: Any = "multi-class"
SHOTS, PARTS, WIDTH, CLASSES, HIDDEN = 6, 5, 4, 3, 7


def drawn(seed: int = 0, gated: bool = True) -> tuple[list[torch.Tensor], torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    shapes = [(HIDDEN,), (HIDDEN, WIDTH), (HIDDEN * gated, WIDTH), (CLASSES, WIDTH), (CLASSES,)]
    tensors = [torch.randn(*shape, generator=draw, dtype=torch.float64) for shape in shapes]
    parts = functional.normalize(torch.randn(SHOTS, PARTS, WIDTH, generator=draw), dim=2).double()
    return tensors, parts


THERE = torch.arange(PARTS)[None] < torch.tensor([5, 3, 1, 4, 5, 2])[:, None]
LABELS = torch.tensor([0, 1, 2, 1, 0, 2])


def by_hand(tensors: list[torch.Tensor], parts: torch.Tensor) -> np.ndarray:
    query, hidden, gate, weight, bias = (value.detach().numpy() for value in tensors)
    logits = []
    for shot, there in zip(parts.numpy(), THERE.numpy(), strict=True):
        own = shot[there]
        told = np.tanh(own @ hidden.T)
        if len(gate):
            told = told * expit(own @ gate.T)
        logits.append(weight @ (softmax(told @ query) @ own) + bias)
    return np.array(logits)


@pytest.mark.parametrize("gated", [True, False])
def test_logits_loss_and_gradient_are_those_by_hand(gated: bool) -> None:
    tensors, parts = drawn(gated=gated)
    logits, attention = pooled(tensors, parts, THERE)
    expected = by_hand(tensors, parts)
    np.testing.assert_allclose(logits.numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(attention.sum(dim=1).numpy(), 1, rtol=1e-12)
    assert not attention[~THERE].any()

    def loss(values: list[torch.Tensor]) -> float:
        chosen = log_softmax(by_hand(values, parts), axis=1)[np.arange(SHOTS), LABELS]
        return float((-chosen.sum() + (values[3].numpy() ** 2).sum() / (2 * 10.0)) / SHOTS)

    with_gradient = [value.clone().requires_grad_() for value in tensors]
    found = objective(with_gradient, parts, THERE, LABELS, 10.0)
    assert float(found.detach()) == pytest.approx(loss(tensors), rel=1e-12)
    found.backward()
    for place, value in enumerate(tensors):
        for index in np.ndindex(*value.shape[:1]):  # one number of each row
            at = (*index, *(1 for _ in value.shape[1:]))
            ends = []
            for step in (1e-6, -1e-6):
                moved = [one.clone() for one in tensors]
                moved[place][at] += step
                ends.append(loss(moved))
            slope = (ends[0] - ends[1]) / 2e-6
            assert float(with_gradient[place].grad[at]) == pytest.approx(slope, abs=1e-7)


def test_label_sets_are_lost_label_by_label() -> None:
    tensors, parts = drawn()
    labels = torch.tensor(np.random.default_rng(0).integers(0, 2, (SHOTS, CLASSES)))
    logits = by_hand(tensors, parts)
    signed = np.where(labels.numpy() > 0, logits, -logits)
    expected = (np.log1p(np.exp(-signed)).sum() + (tensors[3].numpy() ** 2).sum() / 20) / SHOTS
    assert float(objective(tensors, parts, THERE, labels, 10.0)) == pytest.approx(expected)


@pytest.mark.slow
def test_of_equal_parts_the_fit_is_the_linear_probe() -> None:
    draw = torch.Generator().manual_seed(1)
    labels = torch.arange(30) % 3
    means = torch.randn(3, 8, generator=draw)
    features = functional.normalize(means[labels] + torch.randn(30, 8, generator=draw), dim=1)
    probe = LinearProbe(inverse_penalty=5.0).fit(features, labels, KIND, 3)
    recipe = AttentionProbe(inverse_penalty=5.0, steps=600, rate=0.05)
    head = recipe.fit(features[:, None].expand(-1, 4, -1).contiguous(), labels, KIND, 3)
    np.testing.assert_allclose(head.weight.numpy(), probe.weight.numpy(), atol=2e-2)
    np.testing.assert_allclose(
        head.logits(features[:, None]).softmax(1), probe.logits(features).softmax(1), atol=5e-3
    )


def fitted(**options: Any) -> Pooled:
    _, parts = drawn(3)
    return AttentionProbe(**({"steps": 5, "hidden": HIDDEN} | options)).fit(
        parts.float(), LABELS, KIND, CLASSES
    )


def test_a_fit_is_its_seed_and_goes_through_an_artifact() -> None:
    one, same, other = fitted(), fitted(), fitted(seed=1)
    _, parts = drawn(4)
    logits = one.logits(parts)
    assert torch.equal(logits, same.logits(parts))
    assert not torch.equal(logits, other.logits(parts))
    assert torch.equal(pooled_of(dict(one.state_dict())).logits(parts), logits)
    asked = AttentionMil().description()
    assert asked["head"] == "attention_mil"
    assert AttentionMil(hidden=3).description() != asked


@pytest.mark.parametrize("key", ["hidden", "steps", "rate", "inverse_penalty"])
def test_numbers_that_fit_nothing_are_refused(key: str) -> None:
    with pytest.raises(ConfigurationError, match=f"adapter.{key}=0"):
        AttentionMil(**{key: 0})


def bag_data(each: int = 3, count: int = 12, lesions: bool = True) -> Any:
    plain = data_record("wide", classes=2, count=count, label_kind="binary-class")
    values = (np.arange(count) % 5 == 0).astype(np.int64)
    windows = np.tile([0, 0, 8, 8], (count, 1))
    images = np.arange(count) // each
    boxes = Boxes(windows.astype(np.float32), images, values)
    target = WindowLabels(values, windows, images, boxes) if lesions else Labels(values)
    groups = np.array([f"p{image}" for image in images])
    return replace(plain, positive=1, target=target, groups=groups)


def test_a_patient_has_one_answer_whatever_the_order_and_size_of_others() -> None:
    head = fitted()
    data = bag_data()
    features = functional.normalize(torch.randn(12, WIDTH), dim=1)
    logits = torch.from_numpy(BagHead(head).outputs_of(features, data)["logits"])
    for patient in range(4):
        own = slice(3 * patient, 3 * patient + 3)
        alone = head.logits(features[own][None])[0]
        np.testing.assert_allclose(logits[own], alone.expand(3, -1), rtol=1e-5, atol=1e-6)
    order = torch.randperm(12)
    moved = replace(data, groups=data.groups[order.numpy()], ids=data.ids[order.numpy()])
    again = BagHead(head).outputs_of(features[order], moved)["logits"]
    np.testing.assert_allclose(again, logits[order], rtol=1e-5, atol=1e-6)
    single = replace(data, groups=data.ids)
    own = BagHead(head).outputs_of(features, single)["logits"]
    np.testing.assert_array_equal(own, head.logits(features[:, None]).numpy())
    assert isinstance(BagHead(head), SplitHead)
    assert not isinstance(BagHead(head), PatchHead)
    with pytest.raises(NotFiniteError, match="features of 12 of 12 images"):
        BagHead(head).outputs_of(features * float("nan"), data)


def test_labels_of_patients_are_positive_where_a_lesion_is() -> None:
    data = bag_data()
    assert labels_of(data, patients_of(data, "")).tolist() == [1, 1, 0, 1]
    with pytest.raises(ConfigurationError, match="images of several classes"):
        labels_of(bag_data(lesions=False), patients_of(data, ""))
    with pytest.raises(ConfigurationError, match="names no patients"):
        patients_of(replace(data, groups=None), "")
    with pytest.raises(ConfigurationError, match="no metadata column"):
        patients_of(data, "image")


def numbered(studies: list[str]) -> Any:
    """Two patients of six images, whose studies have these numbers."""
    plain = bag_data(each=6)
    return replace(plain, metadata=np.array(studies)[:, None], metadata_columns=("study",))


ALIKE = list("112233112222")
DISTINCT = list("112233445555")


def test_a_unit_is_of_one_patient_however_it_is_numbered() -> None:
    data = numbered(ALIKE)
    codes = patients_of(data, "study")
    expected = [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9, 10, 11]]
    assert sorted(np.flatnonzero(codes == code).tolist() for code in range(5)) == expected
    assert codes.max() == 4
    assert labels_of(data, codes)[codes].tolist() == [1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 1, 1]
    head = fitted()
    head.by = torch.tensor(list(b"study"), dtype=torch.uint8)
    features = functional.normalize(torch.randn(12, WIDTH), dim=1)
    logits = BagHead(head).outputs_of(features, data)["logits"]
    alone = head.logits(features[:2][None])[0]
    np.testing.assert_allclose(logits[:2], alone.expand(2, -1), rtol=1e-5, atol=1e-6)
    plain = patients_of(numbered(DISTINCT), "study")
    assert plain.tolist() == np.unique(DISTINCT, return_inverse=True)[1].tolist()
    named = patients_of(replace(data, groups=None), "study")
    assert named.tolist() == np.unique(ALIKE, return_inverse=True)[1].tolist()
    with pytest.raises(ConfigurationError, match=r"empty, .* for 2 images of wide/test"):
        patients_of(numbered(["", "unknown", *"2233112222"]), "study")


def test_fingerprints_move_where_patients_number_alike_and_nowhere_else() -> None:
    head = fitted()
    trained = SimpleNamespace(head=lambda *_: head, head_description=lambda *_: {"kind": "probe"})
    side: Any = SimpleNamespace(trained=trained)
    recipe = AttentionMil(by="study")
    how: Any = SimpleNamespace(seed=0)

    def named(studies: list[str], recipe: Any = recipe) -> str:
        shots = FewShots(numbered(studies), None, ())
        return adapter_fingerprint({}, Stage(recipe, how), [shots], [])

    plain = numbered(DISTINCT)
    before = fingerprint([1, {}, recipe.description(), [0], [[plain.fingerprint, None]], []])
    assert named(DISTINCT) == before != named(ALIKE)
    patients = AttentionMil()
    assert named(DISTINCT, patients) == named(ALIKE, patients)
    assert heads(numbered(ALIKE), side) == [{"kind": "probe"}], "by patients"
    head.by = torch.tensor(list(b"study"), dtype=torch.uint8)
    assert heads(plain, side) == [{"kind": "probe"}]
    (apart,) = heads(numbered(ALIKE), side)
    assert apart == {"kind": "probe", "apart": "study"}
    both = {"kind": "probe"}, apart
    rows: Any = [SimpleNamespace(record={"encoding": {}, "head": one}) for one in both]
    assert variant(rows[0]) == variant(rows[1]), "a validation split may number otherwise"


@pytest.mark.slow
def test_one_positive_instance_is_found_among_many() -> None:
    rng = np.random.default_rng(0)
    count, each = 200, 8
    labels = torch.arange(count) % 2
    values = torch.tensor(rng.normal(size=(count, each, 8)), dtype=torch.float32)
    values[labels == 1, 3] += 6 * torch.eye(8)[0]
    features = functional.normalize(values, dim=2)
    train, test = slice(0, 140), slice(140, None)
    head = AttentionMil(steps=300).fit(features[train], labels[train], "binary-class", 2)
    mean = LinearProbe().fit(features[train].mean(1), labels[train], "binary-class", 2)
    answers = head.logits(features[test]), mean.logits(features[test].mean(1))
    right = [float((one.argmax(1) == labels[test]).float().mean()) for one in answers]
    assert right[0] > max(0.8, right[1]), right


def test_places_are_read_of_the_block_that_the_head_was_fitted_on() -> None:
    head = fitted()
    head.block.fill_(2)
    _, parts = drawn(5)
    level = SimpleNamespace(states=3 * parts)  # not of unit norm
    reader = PlacesHead(head)
    assert isinstance(reader, PatchHead)
    assert list(reader.blocks) == [2]
    rows = reader.reduce(torch.zeros(SHOTS, WIDTH), {2: level})
    np.testing.assert_allclose(reader.outputs(rows)["logits"], head.logits(parts), atol=1e-6)
    with pytest.raises(NotFiniteError, match="logits of 6 of 6 images"):
        reader.outputs({"logits": rows["logits"] * float("nan")})


def test_rows_become_bags_in_their_order() -> None:
    codes = torch.tensor([2, 0, 2, 1, 2])
    found = bags(torch.arange(1.0, 6)[:, None], codes)[..., 0]
    assert found.tolist() == [[2, 0, 0], [4, 0, 0], [1, 3, 5]]
