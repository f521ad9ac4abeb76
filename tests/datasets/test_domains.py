"""One domain is left out of what is learned from, and is all that is judged."""

import numpy as np
import pytest

from medrobust.base.targets import Labels
from medrobust.datasets.domains import LeftOut, judged, restricted, with_left_out
from medrobust.datasets.image_set import ImageSet
from medrobust.datasets.phantoms.domains import MARK, PhantomDomains
from medrobust.exceptions import ConfigurationError, UnknownNameError

SITES = ["north", "south", "east", "north", "south", "east"]


def made(sites: list[str], groups: list[str] | None = None, split: str = "train") -> ImageSet:
    count = len(sites)
    return ImageSet(
        name="ours",
        split=split,
        fingerprint=f"{split}{sites}",
        ids=np.array([f"{split}{row}" for row in range(count)]),
        images=np.zeros((count, 8, 8), np.uint8),
        index=np.arange(count, dtype=np.int64),
        target=Labels(np.arange(count, dtype=np.int64) % 2),
        class_names=("no", "yes"),
        label_kind="binary-class",
        positive=1,
        groups=None if groups is None else np.array(groups),
        metadata=np.array(sites)[:, None],
        metadata_columns=("site",),
    )


@pytest.mark.parametrize(("is_judged", "rows"), [(True, [1, 4]), (False, [0, 2, 3, 5])])
def test_the_domain_left_out_is_judged_and_the_others_are_learned_from(is_judged, rows) -> None:
    found = restricted(made(SITES), "site", "south", judged=is_judged)

    assert found.index.tolist() == rows


def test_column_domain_and_part_decide_the_fingerprint() -> None:
    data = made(SITES)
    found = [
        restricted(data, "site", domain, judged=is_judged).fingerprint
        for domain in ("south", "north")
        for is_judged in (True, False)
    ]

    assert len({data.fingerprint, *found}) == 5


def test_patients_of_two_domains_are_left_out_of_what_is_learned_from_and_said() -> None:
    patients = ["p0", "p1", "p2", "p1", "p4", "p5"]

    found = restricted(made(SITES, patients), "site", "south", judged=False)

    assert found.index.tolist() == [0, 2, 5]
    (said,) = found.marks
    assert (
        "1 patient of train have images in domain 'south' and in others: 1 image left out" in said
    )


def test_a_domain_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(UnknownNameError, match=r"sout.*north"):
        restricted(made(SITES), "site", "sout", judged=True)


def test_one_domain_alone_leaves_nothing_to_learn_from() -> None:
    with pytest.raises(ConfigurationError, match=r"of that domain alone"):
        restricted(made(["south", "south"]), "site", "south", judged=False)


def test_another_column_and_an_empty_domain_are_a_sentence_each() -> None:
    with pytest.raises(ConfigurationError, match=r"no such metadata column. It has: site"):
        restricted(made(SITES), "scanner", "south", judged=True)
    with pytest.raises(ConfigurationError, match=r"1 image of data set 'ours'.* name no domain"):
        restricted(made(["south", ""]), "site", "south", judged=True)


def test_column_and_domain_are_asked_for_together_and_of_one_set() -> None:
    source = PhantomDomains()

    assert with_left_out(source, None, None) is source
    with pytest.raises(ConfigurationError, match=r"dataset.left_out=DOMAIN"):
        with_left_out(source, "site", None)
    with pytest.raises(ConfigurationError, match=r"dataset.domain"):
        with_left_out(source, None, "a")


def test_phantoms_of_four_sites_are_parted_by_site_with_their_masks(tmp_path) -> None:
    source = PhantomDomains(per_class=1, marked=True, cache_dir=str(tmp_path))
    parted = judged(with_left_out(source, "site", "b"), "masks")

    assert isinstance(parted, LeftOut)
    test, train = parted.load(), parted.load("train")

    assert test.name == "phantom_domains b left out"
    assert set(test.metadata[:, 0]) == {"b"}
    assert set(train.metadata[:, 0]) == {"a", "c", "d"}
    assert np.asarray(test.target.masks).any(axis=(1, 2)).tolist() == test.labels.tolist()
    marked = (np.asarray(train.images)[:, MARK, MARK] == 235).all(axis=(1, 2, 3))
    assert marked.any()
    assert not marked.all()
