"""Public metrics take the kind of labels as `task`, its name of release 0.1, for one release."""

import pickle
from dataclasses import replace
from inspect import signature

import numpy as np
import pytest

import medrobust.metrics
from medrobust.datasets import Dicom, Folder, Npz
from medrobust.metrics import (
    Reading,
    adaptive_calibration_error,
    auc,
    auprc,
    brier,
    cell_metrics,
    class_scores,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    predictions,
    probabilities,
)
from medrobust.metrics.influence import areas

KIND = "multi-class"
LOGITS = np.random.default_rng(0).normal(size=(40, 3))
LABELS = np.arange(40) % 3
CHANCES = probabilities(LOGITS, KIND)
SCORES = class_scores(LOGITS, KIND)

CALLS = {
    adaptive_calibration_error: (CHANCES, LABELS),
    areas: (SCORES, LABELS),
    auc: (SCORES, LABELS),
    auprc: (SCORES, LABELS),
    brier: (CHANCES, LABELS),
    cell_metrics: (LOGITS, LABELS),
    class_scores: (LOGITS,),
    expected_calibration_error: (CHANCES, LABELS),
    fit_temperature: (LOGITS, LABELS),
    negative_log_likelihood: (LOGITS, LABELS),
    predictions: (LOGITS,),
    probabilities: (LOGITS,),
}
"""Function -> what it takes before the kind of labels."""


@pytest.mark.parametrize("function", CALLS, ids=lambda function: function.__name__)
def test_a_metric_takes_the_former_name_and_warns_in_a_sentence(function):
    given = CALLS[function]
    with pytest.warns(DeprecationWarning, match="is called label_kind= now") as caught:
        found = function(*given, task=KIND)
    assert [str(one.message) for one in caught] == [
        f"task= of {function.__name__}() is called label_kind= now, and the former name is taken "
        f"until the next release."
    ]
    assert caught[0].filename == __file__
    assert pickle.dumps(found) == pickle.dumps(function(*given, label_kind=KIND))


def test_every_public_metric_of_a_kind_of_labels_is_among_them():
    public = [getattr(medrobust.metrics, name) for name in medrobust.metrics.__all__]
    functions = [one for one in public if callable(one) and not isinstance(one, type)]
    assert [one.__name__ for one in functions if "task" in signature(one).parameters] == []
    asked = {one for one in functions if "label_kind" in signature(one).parameters}
    assert asked == CALLS.keys() - {areas}


def test_answers_take_the_former_name_and_have_it():
    with pytest.warns(DeprecationWarning, match=r"task= of Answers\(\) is called label_kind= now"):
        former = Reading(LOGITS, LABELS, task=KIND)
    assert (former.label_kind, former.task) == (KIND, KIND)
    present = Reading(LOGITS, LABELS, KIND)
    assert replace(present, groups=LABELS).label_kind == KIND
    assert pickle.loads(pickle.dumps(present)).label_kind == KIND


def test_both_names_at_once_are_refused():
    message = r"auc\(\) got task= and label_kind=, which are one argument: pass label_kind= alone"
    with pytest.raises(TypeError, match=message):
        auc(SCORES, LABELS, task=KIND, label_kind=KIND)


OWN = {Folder: {"csv": "a.csv", "name": "a"}, Dicom: {"csv": "a.csv", "name": "a"}}
OWN |= {Npz: {"file": "a.npz", "class_names": ("a", "b", "c")}}


@pytest.mark.parametrize("source", OWN, ids=lambda source: source.__name__)
def test_data_of_ones_own_take_the_former_name_too(source):
    said = rf"task= of {source.__name__}\(\) is called label_kind= now"
    with pytest.warns(DeprecationWarning, match=said):
        former = source(**OWN[source], task="ordinal-regression")
    present = source(**OWN[source], label_kind="ordinal-regression")
    assert former == present
    assert replace(present, split="val").label_kind == "ordinal-regression"
    assert pickle.loads(pickle.dumps(present)) == present
    with pytest.raises(TypeError, match="which are one argument: pass label_kind= alone"):
        source(**OWN[source], task="multi-class", label_kind="multi-class")
