"""The stage that makes an adapter: once, without the test split, guarded, resumable."""

import json
import logging
import os
import signal
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import write_folder
from forked import forked
from grouped import changed
from torch import Tensor
from tuning import experiment, tuning

from medrobust.adapters import (
    LinearProbe,
    Lora,
    NearestNeighbours,
    NoAdapter,
    Prototypes,
    Tuned,
    WeightTuning,
)
from medrobust.corruptions import Corruption
from medrobust.datasets import Folder, ImageSet, Phantoms
from medrobust.datasets.sampling import few_shots
from medrobust.evaluation import adaptation
from medrobust.evaluation.adaptation import adapted, plan_adaptation, progress_folder
from medrobust.evaluation.experiment import Experiment
from medrobust.evaluation.plan import check, plan
from medrobust.evaluation.resources import Resources
from medrobust.evaluation.run import CellRunner, read_cells
from medrobust.evaluation.store import Store
from medrobust.exceptions import ConfigurationError
from medrobust.models import PhantomClip, PromptSet
from medrobust.models.loading import read_checkpoint
from medrobust.tuning import CorruptedShots, FewShot, TuningError
from medrobust.tuning.probe import encode
from medrobust.tuning.training import CHECKPOINT, private_copy

RESOURCES = Resources()


def make(given: Experiment) -> Tuned:
    done = adapted(given, RESOURCES, Store(given.where.store))
    assert isinstance(done.model.adapter, Tuned)
    assert done.model.stage is None
    return done.model.adapter


def weights(tuned: Tuned) -> dict[str, Tensor]:
    return read_checkpoint(Path(tuned.path) / "adapter_model.safetensors")


def evaluated(given: Experiment) -> list[Any]:
    store = Store(given.where.store)
    plans = plan(given, RESOURCES)
    CellRunner(given, RESOURCES, store).run(plans)
    return read_cells(store, plans)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    """The adapter of the usual experiment: tests only read it."""
    return make(experiment(tmp_path_factory.mktemp("plain")))


def test_an_adapter_is_made_once_and_then_evaluated(tmp_path: Path) -> None:
    given = experiment(tmp_path)
    done = adapted(given, RESOURCES, Store(tmp_path))
    folder = Path(done.model.adapter.path)
    assert folder.parent == tmp_path / "adapters"
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "medrobust.json",
        "README.md",
    }
    assert [path.name for path in folder.parent.iterdir()] == [folder.name], "nothing is left over"
    record = json.loads((folder / "medrobust.json").read_text())
    (data,) = record["data"]
    assert len(data["shots"]) == 20
    assert data["selection"]
    assert not set(data["shots"]) & set(data["selection"])
    assert record["metrics"]["optimiser steps"] == 6
    assert record["base"]["weights"] == given.model.source.weights_fingerprint()
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = adapted(given, RESOURCES, Store(tmp_path))
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert again.model.adapter == done.model.adapter
    clean, _ = evaluated(done)
    assert clean.spec.adapter == "lora 1 shots draw 0"
    assert clean.record["adaptation"] == {
        "label": "lora 1 shots",
        "draw": 0,
        "fingerprint": folder.name,
        "base_classifies": True,
    }
    base = evaluated(changed(given, adapter=NoAdapter(), tuning=None))
    assert not (clean.arrays["logits"] == base[0].arrays["logits"]).all()
    other = changed(given, tuning=tuning(shot_seed=1))
    assert plan_adaptation(other, RESOURCES, Store(tmp_path)).folder != folder


def test_the_test_split_is_never_opened_while_tuning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    load = Phantoms.load

    def watched(self: Phantoms, split: str | None = None) -> ImageSet:
        opened.append(split or self.split)
        assert opened[-1] != "test", "tuning has opened the test split"
        return load(self, split)

    monkeypatch.setattr(Phantoms, "load", watched)
    adapted(experiment(tmp_path), Resources(), Store(tmp_path))
    assert opened == ["train"]
    with pytest.raises(AssertionError, match="opened the test split"):
        plan(changed(experiment(tmp_path), adapter=NoAdapter(), tuning=None), Resources())


def own_data(folder: Path, patients: dict[str, str]) -> Folder:
    """Twelve pictures of two classes, half of them test, with some patients renamed."""
    table = write_folder(folder, ("blood smear", "skin lesion"), per_class=6)
    for before, after in patients.items():
        table.write_text(table.read_text().replace(before, after))
    return Folder(csv=str(table), size=32)


def test_patients_of_an_evaluated_split_are_left_out_of_the_shots_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Patients 0 to 2 are test, 3 to 5 train, two images each; 3 is made to be 0."""
    source = own_data(tmp_path / "ward", {"MRN-00003": "MRN-00000"})
    whole = tuning(fraction=1.0, shots=None)
    given = experiment(tmp_path / "store", datasets=(source,), tuning=whole)
    with caplog.at_level(logging.INFO, logger="medrobust"):
        (drawn,) = plan_adaptation(given, Resources(), Store(given.where.store)).drawn
    sentence = (
        "1 patient of the test split (2 images) is also in train: 2 images of train left out of "
        "tuning"
    )
    assert sentence in drawn.record()["notes"]
    assert f"folder: {sentence}" in caplog.text
    pool, test = source.load("train"), source.load("test")
    assert len(drawn.shots) == 4 == len(pool) - 2
    assert not set(drawn.shots.groups) & set(test.groups)
    assert source.patients_of("test").tolist() == test.groups.tolist()


def test_a_pool_of_nobody_but_evaluated_patients_is_refused_and_a_clean_one_left_alone(
    tmp_path: Path,
) -> None:
    renamed = {f"MRN-0000{number + 3}": f"MRN-0000{number}" for number in range(3)}
    leaky, clean = (
        experiment(tmp_path / "store", datasets=(own_data(tmp_path / name, patients),))
        for name, patients in (("leaky", renamed), ("clean", {}))
    )
    with pytest.raises(ConfigurationError, match=r"3 patients of .*: none is left of folder"):
        plan_adaptation(leaky, Resources(), Store(leaky.where.store))
    (drawn,) = plan_adaptation(clean, Resources(), Store(clean.where.store)).drawn
    untouched = few_shots(clean.data.datasets[0].load("train"), shots=1)
    assert drawn.record() == untouched.record()
    assert drawn.shots.fingerprint == untouched.shots.fingerprint


class Cut(Exception):
    """Stands for a kill."""


def saving_each_step(folder: Path) -> Experiment:
    recipe = tuning(save_every=1, corrupt=CorruptedShots([Corruption("gaussian_noise")]))
    return experiment(folder, tuning=recipe, adapter=Lora(rank=4, dropout=0.2))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    """What nothing cuts off."""
    return make(saving_each_step(tmp_path_factory.mktemp("whole")))


@pytest.mark.parametrize("cut", [1, 4])
def test_cut_off_in_an_epoch_and_resumed_the_adapter_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Tuned, cut: int
) -> None:
    given = saving_each_step(tmp_path / "cut")
    step = FewShot.training_step

    def stopping(self: FewShot, batch: Any, batch_index: int) -> Tensor:
        if self._batches_done == cut:
            raise Cut
        return step(self, batch, batch_index)

    with monkeypatch.context() as patch:
        patch.setattr(FewShot, "training_step", stopping)
        with pytest.raises(Cut):
            make(given)
    assert not list((tmp_path / "cut/adapters").glob("[!.]*"))
    counted: list[int] = []

    def counting(self: FewShot, batch: Any, batch_index: int) -> Tensor:
        counted.append(self._batches_done)
        return step(self, batch, batch_index)

    monkeypatch.setattr(FewShot, "training_step", counting)
    resumed = make(given)
    assert counted == list(range(cut, 6))
    first, second = weights(whole), weights(resumed)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_two_processes_make_the_adapter_of_one(tmp_path: Path) -> None:
    recipe = tuning(batch_size=6)  # 20 shots: the last batch of an epoch has two images
    alone = make(experiment(tmp_path / "one", tuning=recipe))
    together = make(experiment(tmp_path / "two", tuning=recipe, devices=2))
    first, second = weights(alone), weights(together)
    worst = max(float((first[name] - second[name]).abs().max()) for name in first)
    assert worst <= 1e-5
    assert alone.record["metrics"]["chosen after epoch"] == pytest.approx(
        together.record["metrics"]["chosen after epoch"]
    )
    done = [
        changed(experiment(tmp_path / name), adapter=tuned, tuning=None)
        for name, tuned in (("one", alone), ("two", together))
    ]
    for left, right in zip(*map(evaluated, done), strict=True):
        assert (left.arrays["logits"].argmax(1) == right.arrays["logits"].argmax(1)).all()


@pytest.mark.every_nth(3)
@pytest.mark.parametrize(
    "recipe",
    [
        WeightTuning(name="norm", which="norm"),
        WeightTuning(),
        LinearProbe(),
        Prototypes(),
        NearestNeighbours(neighbours=(1, 5)),
    ],
    ids=lambda recipe: recipe.name,
)
def test_every_recipe_goes_through_the_stage(tmp_path: Path, recipe: Any) -> None:
    given = experiment(tmp_path, adapter=recipe)
    done = adapted(given, RESOURCES, Store(tmp_path))
    clean, _ = evaluated(done)
    assert clean.spec.adapter == f"{recipe.name} 1 shots draw 0"
    wrong = (clean.arrays["logits"].argmax(1) != clean.data.labels).mean()
    assert wrong < 0.8, "twenty classes: guessing is wrong 95 times of 100"


@pytest.mark.slow
def test_a_probe_shares_its_features_with_the_model_as_published(tmp_path: Path) -> None:
    given = experiment(tmp_path, adapter=LinearProbe(), keep_features=True)
    base = evaluated(changed(given, adapter=NoAdapter(), tuning=None))
    done = adapted(given, RESOURCES, Store(tmp_path))
    probe = evaluated(done)
    for one, other in zip(base, probe, strict=True):
        assert one.record["encoding_fingerprint"] == other.record["encoding_fingerprint"]
        assert one.fingerprint != other.fingerprint
    elsewhere = changed(done, datasets=(Phantoms(per_class=2),))
    assert len(plan(elsewhere, RESOURCES)[0].cells) == 2, "the classes are the same"
    with pytest.raises(ConfigurationError, match=r"has no head for blood: its classes are others"):
        done.model.adapter.head("blood", ("a", "b"))


def test_what_cannot_be_tuned_or_evaluated_is_refused(tmp_path: Path, plain: Tuned) -> None:
    given = experiment(tmp_path)
    with pytest.raises(ConfigurationError, match="has to be tuned first: add tuning=few_shot"):
        check(changed(given, tuning=None))
    with pytest.raises(ConfigurationError, match="adapter=none is none that can be tuned"):
        plan_adaptation(changed(given, adapter=NoAdapter()), RESOURCES, Store(tmp_path))
    other = changed(given, tuning=tuning(datasets=["phantoms"]))
    with pytest.raises(ConfigurationError, match="the data sets of this run are phantoms_site_b"):
        plan_adaptation(other, RESOURCES, Store(tmp_path))
    done = changed(given, adapter=plain, tuning=None)
    check(done)
    with pytest.raises(ConfigurationError, match="was tuned on phantomclip_small"):
        check(changed(done, model=PhantomClip()))


def test_a_loss_that_is_not_finite_stops_with_the_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: FewShot, part: Any, own: Any) -> Tensor:
        return torch.where(part.index == part.index[0], torch.nan, own.features.sum(dim=1))

    monkeypatch.setattr(FewShot, "_losses", broken)
    with pytest.raises(TuningError, match=r"not finite in epoch 0 for phantoms_site_b/") as caught:
        make(experiment(tmp_path))
    drawn = plan_adaptation(experiment(tmp_path), RESOURCES, Store(tmp_path)).drawn[0]
    assert any(str(name) in str(caught.value) for name in drawn.shots.ids)
    assert not [t for t in threading.enumerate() if t.name.startswith("medrobust-ahead")]


def test_weights_that_get_no_gradient_stop_the_run_and_are_named(tmp_path: Path) -> None:
    partly = Lora(modules=r"visual_encoder\.blocks\.0\.attention\.[kv]_proj")

    class Deaf(PhantomClip):
        def load(self) -> Any:
            model = super().load()
            attention = model.visual_encoder.blocks[0].attention
            attention.forward = lambda tokens, mask: attention.out_proj(attention.v_proj(tokens))
            return model

    model = Deaf(name="phantomclip_small", variant="small", micro_batch=8)
    with pytest.raises(TuningError, match=r"1 of 2 weights .*k_proj\.lora_B"):
        adapted(experiment(tmp_path, model=model, adapter=partly), Resources(), Store(tmp_path))


def test_a_frozen_weight_that_moves_stops_the_run_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = FewShot.training_step

    def leaking(self: FewShot, batch: Any, batch_index: int) -> Tensor:
        self.model.visual_encoder.stem[1].running_mean.add_(1e-3)
        return step(self, batch, batch_index)

    monkeypatch.setattr(FewShot, "training_step", leaking)
    with pytest.raises(TuningError, match=r"after the first step .*stem\.1\.running_mean"):
        make(experiment(tmp_path))


def test_a_run_without_a_real_step_is_no_success(tmp_path: Path) -> None:
    still = replace(tuning(), optimizer=partial(torch.optim.AdamW, lr=0.0))
    with pytest.raises(TuningError, match="took no step"):
        make(experiment(tmp_path, tuning=still))


def test_an_adapter_that_is_no_no_op_at_first_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attach = Lora.attach

    def shifted(self: Lora, model: Any, *, seed: int = 0) -> tuple[str, ...]:
        names = attach(self, model, seed=seed)
        with torch.no_grad():
            for value in self.must_move(model).values():
                value.add_(0.1)
        return names

    monkeypatch.setattr(Lora, "attach", shifted)
    with pytest.raises(TuningError, match="must begin as the model itself"):
        make(experiment(tmp_path))


def module_of(given: Experiment) -> FewShot:
    wanted = plan_adaptation(given, RESOURCES, Store(given.where.store))
    model, stage = private_copy(given.model.source), wanted.stage
    stage.recipe.attach(model, seed=0)
    heads = adaptation.class_heads(given.model, RESOURCES, wanted)
    shots = [one.shots for one in wanted.drawn]
    return FewShot(model, stage.recipe, heads, shots, [None] * len(shots), stage.how)


TWO = (
    Phantoms(name="phantoms_site_b", site="b", per_class=2),
    Phantoms(name="phantoms", per_class=2),
)


def test_the_loss_is_the_cross_entropy_of_scaled_cosines_in_the_samples_own_set(
    tmp_path: Path,
) -> None:
    from medrobust.tuning.shots import Place, Shots

    module = module_of(experiment(tmp_path, datasets=TWO))
    batch = Shots(module.shots).__getitems__([Place(0, 0, 0.5), Place(25, 0, 0.5)])
    seen = module._seen(batch.parts, [part.images for part in batch.parts])
    for part, one in zip(batch.parts, seen, strict=True):
        own = one.features
        assert own.norm(dim=1).tolist() == pytest.approx([1.0])
        head = module.heads[part.dataset]
        logits = head.logit_scale * own @ head.present.T
        expected = -logits.log_softmax(dim=1)[0, part.labels[0]]
        assert module._losses(part, one)[0].item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_joint_label_space_needs_texts_that_tell_the_sets_apart(tmp_path: Path) -> None:
    joint = tuning(label_space="joint")
    with pytest.raises(ConfigurationError, match="have the same text"):
        module_of(experiment(tmp_path, datasets=TWO, tuning=joint))
    named = PromptSet(name="named", templates=["an image of {} from {dataset}"])
    module = module_of(experiment(tmp_path, datasets=TWO, tuning=joint, prompts=named))
    classes, firsts = module._joint
    assert (classes.shape[0], firsts) == (40, (0, 20))
    from medrobust.tuning.shots import Place, Shots

    (part,) = Shots(module.shots).__getitems__([Place(23, 0, 1.0)]).parts
    own = module._seen([part], [part.images])[0]
    logits = module.heads[0].logit_scale * own.features @ classes.T
    expected = -logits.log_softmax(dim=1)[0, 20 + int(part.labels[0])]
    assert module._losses(part, own)[0].item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.slow
def test_the_exact_protocol_chooses_the_epoch_by_the_joint_error_on_test(tmp_path: Path) -> None:
    named = PromptSet(name="named", templates=["an image of {} from {dataset}"])
    leaking = tuning(label_space="joint", choose="best_on_test", leave_out_repeats="count")
    given = experiment(tmp_path, datasets=TWO, tuning=leaking, prompts=named)
    tuned = make(given)
    left_in, chosen = tuned.tuned_how
    assert "were left in" in left_in
    assert chosen.startswith(
        "lora: its epoch was chosen by the errors of the evaluated split (test)"
    )
    assert f"- protocol: {chosen}" in Path(tuned.path, "README.md").read_text()
    model = tuned.attach(given.model.source.load())
    wanted = plan_adaptation(given, RESOURCES, Store(tmp_path))
    heads = adaptation.class_heads(given.model, RESOURCES, wanted)
    classes = torch.cat([head.present for head in heads])
    wrong = []
    for number, source in enumerate(TWO):
        test = source.load("test")
        features = encode(model, test, micro_batch=8, batch_size=64)
        answers = (features @ classes.T).argmax(dim=1) - 20 * number
        wrong += (answers != torch.from_numpy(test.labels)).tolist()
    error = tuned.record["metrics"]["selection error"]
    assert error == pytest.approx(sum(wrong) / len(wrong), abs=1e-6)
    assert [one["selection_split"] for one in tuned.record["data"]] == ["test", "test"]


def test_repeats_are_counted_or_left_out_or_not_looked_for(tmp_path: Path) -> None:
    one = Phantoms(name="phantoms_site_b", site="b", per_class=2)

    class Shown(Phantoms):
        """Its train split is its test split."""

        def load(self, split: str | None = None) -> ImageSet:
            """Open the split."""
            return replace(super().load("test"), split=split or self.split)

    twice = (Shown(name="phantoms", per_class=2), one)
    kept = experiment(tmp_path, datasets=twice, tuning=tuning(leave_out_repeats="count"))
    (sentence,) = plan_adaptation(kept, RESOURCES, Store(tmp_path)).protocol
    pools = [len(source.load("train")) for source in twice]
    assert sentence.startswith(f"{pools[0]} of {sum(pools)} images to tune on show the same as")
    assert sentence.endswith(f"were left in (phantoms/train {pools[0]} of {pools[0]})")
    out = changed(kept, tuning=tuning(leave_out_repeats=True))
    with pytest.raises(ConfigurationError, match="none is left of phantoms to tune on"):
        plan_adaptation(out, RESOURCES, Store(tmp_path))
    silent = changed(kept, tuning=tuning())
    assert plan_adaptation(silent, RESOURCES, Store(tmp_path)).protocol == ()
    spent = changed(kept, datasets=(one,), tuning=tuning(shots=1000))
    few, none_left = plan_adaptation(spent, RESOURCES, Store(tmp_path)).protocol
    assert "has fewer than the 1000 shots" in few
    assert "no image of phantoms_site_b is left to choose the epoch by" in none_left
    last = changed(spent, tuning=tuning(shots=1000, choose="last"))
    assert len(plan_adaptation(last, RESOURCES, Store(tmp_path)).protocol) == 1
    with pytest.raises(ConfigurationError, match="write true, false or count"):
        tuning(leave_out_repeats="maybe")


def test_frozen_parts_stay_in_eval_mode_and_dropout_of_the_adapter_does_not(
    tmp_path: Path,
) -> None:
    module = module_of(experiment(tmp_path, adapter=Lora(rank=2, dropout=0.5)))
    module.train()
    training = {name for name, part in module.model.named_modules() if part.training}
    assert training
    assert all(".lora_dropout" in name for name in training)
    module.eval()
    assert not any(part.training for part in module.model.modules())


def test_recomputed_blocks_give_the_same_gradients(tmp_path: Path, plain: Tuned) -> None:
    saving = make(experiment(tmp_path, tuning=tuning(gradient_checkpointing=True)))
    first, second = weights(plain), weights(saving)
    assert all(torch.allclose(first[name], second[name], atol=1e-6) for name in first)


def test_tuning_stops_early_and_raw_features_are_not_normalised(tmp_path: Path) -> None:
    stopping = tuning(epochs=30, patience=1, schedule="constant", accumulate=2)
    stopping = replace(stopping, optimizer=partial(torch.optim.AdamW, lr=1e-8))
    tuned = make(experiment(tmp_path, tuning=stopping))
    assert tuned.record["metrics"]["optimiser steps"] < 45
    raw = module_of(experiment(tmp_path, tuning=tuning(features="raw", logit_scale=1.0)))
    from medrobust.tuning.shots import Place, Shots

    (part,) = Shots(raw.shots).__getitems__([Place(0, 0, 1.0)]).parts
    own = raw._seen([part], [part.images])[0]
    features = own.features
    assert features.norm().item() != pytest.approx(1.0, abs=1e-3)
    expected = (features @ raw.heads[0].present.T).log_softmax(dim=1)[0, part.labels[0]]
    assert raw._losses(part, own)[0].item() == pytest.approx(-expected.item(), rel=1e-5)


@pytest.mark.slow
def test_two_jobs_that_want_one_adapter_at_once_tune_it_once_or_go_on_where_one_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ends = {"finishes": tmp_path / "finishes", "is killed": tmp_path / "killed"}
    (told, tell), (heard, let_go) = os.pipe(), os.pipe()
    made: list[str] = []
    done: list[Tuned] = []
    counted: list[int] = []
    make_it, step = adaptation.make, FewShot.training_step

    def counting(self: FewShot, batch: Any, batch_index: int) -> Tensor:
        counted.append(self._batches_done)
        return step(self, batch, batch_index)

    def stopped(self: FewShot, batch: Any, batch_index: int) -> Tensor:
        if self._batches_done == 4:  # three steps an epoch: the fifth is the second of its epoch
            os.write(tell, b"in")
            os.read(heard, 2)
        return step(self, batch, batch_index)

    def other() -> None:
        FewShot.training_step = stopped  # of the child's own class
        for folder in ends.values():
            make_into(folder, [])

    monkeypatch.setattr(adaptation, "PAUSE", 0.01)
    monkeypatch.setattr(adaptation, "make", lambda *a: made.append("here") or make_it(*a))
    caplog.set_level(logging.INFO, logger="medrobust")

    def here(child: int) -> None:
        monkeypatch.setattr(FewShot, "training_step", counting)
        for end, folder in ends.items():
            made.clear()
            caplog.clear()
            assert os.read(told, 2) == b"in"
            waiting = threading.Thread(target=make_into, args=(folder, done))
            waiting.start()
            said = "waiting for lora 1 shots draw 0, which another process tunes"
            patience = time.monotonic() + 60
            while said not in caplog.messages and time.monotonic() < patience:
                waiting.join(timeout=0.05)
            assert said in caplog.messages
            waiting.join(timeout=0.5)  # fifty looks at what the other does
            assert waiting.is_alive()
            assert not made, "both tune, in one folder"
            assert not list((folder / "adapters").glob("[!.]*"))
            if end == "is killed":
                os.kill(child, signal.SIGKILL)
            else:
                os.write(let_go, b"on")
            waiting.join(timeout=120)
            assert len(made) == (end == "is killed")
            assert weights(done[-1])

    assert forked(other, meanwhile=here).returncode == -signal.SIGKILL
    for pipe in (told, tell, heard, let_go):
        os.close(pipe)
    assert counted == [4, 5], "the steps that the killed one has not done"
    for folder in ends.values():  # the other process has ended, and cleared away what it had begun
        assert [path.name for path in (folder / "adapters").iterdir()] == [Path(done[-1].path).name]
    files = [next(f.glob("adapters/*/adapter_model.safetensors")) for f in ends.values()]
    assert files[0].read_bytes() == files[1].read_bytes()


def make_into(folder: Path, done: list[Tuned]) -> None:
    done.append(make(experiment(folder, tuning=tuning(save_every=1))))


class Program:
    """What a hostile pickle holds: whoever loads it runs it."""

    def __init__(self, leaves: Path) -> None:
        self.leaves = leaves

    def __reduce__(self) -> Any:
        return Path.touch, (self.leaves,)


@pytest.mark.every_nth(2)
@pytest.mark.parametrize("how", ["program", "truncated", "empty", "other"])
def test_a_checkpoint_that_is_damaged_or_a_program_is_never_run_and_tuning_begins_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    given = experiment(tmp_path, tuning=tuning(save_every=1))
    store = Store(tmp_path)
    folder = progress_folder(store, plan_adaptation(given, Resources(), store))
    folder.mkdir(parents=True)
    file, ran = folder / CHECKPOINT, tmp_path / "ran"
    torch.save({"state_dict": {}, "x": Program(ran)} if how == "program" else {"a": 1}, file)
    if how in ("truncated", "empty"):
        os.truncate(file, file.stat().st_size // 2 if how == "truncated" else 0)
    made = make(given)
    assert not ran.exists()
    (said,) = [r.message for r in caplog.records if "begins anew" in r.message]
    assert "last.ckpt is damaged, or holds more than tensors and plain values" in said
    assert Path(made.path, "adapter_model.safetensors").exists()
    if how == "program":
        torch.save({"x": Program(ran)}, tmp_path / "file")
        torch.load(tmp_path / "file", weights_only=False)  # what is kept in it runs
        assert ran.exists(), "it would have run"
