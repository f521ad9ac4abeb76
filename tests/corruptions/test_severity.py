"""Severity grows where the published parameters do."""

import numpy as np
import pytest
import torch
from PIL import Image

from medrobust.corruptions import corrupt, suites
from medrobust.corruptions.suites import REGISTRIES

NOT_MONOTONE = {
    "saturate",  # fades at 1 and 2, exaggerates from 3 on
    "spatter",  # water up to 3, mud from 4 on
    "glass_blur",  # three iterations of two pixels at 3, two of three at 4
    "snow",  # another density from 3 on
    "fog",  # rougher from 3 on
    "frost",  # a darker image under a stronger texture
}
"""Corruptions whose published parameters are not monotone at every step; saturate and frost
aside, they grow from 1 to 5."""


def picture():
    values = np.random.default_rng(1)
    coarse = Image.fromarray(values.integers(40, 200, (14, 14, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((224, 224), Image.Resampling.BICUBIC)).astype(int)
    rough = smooth + values.integers(-25, 26, smooth.shape)
    return torch.from_numpy(rough.clip(0, 255).astype(np.uint8).transpose(2, 0, 1).copy())


IMAGES = picture().expand(4, -1, -1, -1).contiguous()


def differences(name, suite="imagenet_c", count=4):
    images = IMAGES[:1].expand(count, -1, -1, -1)
    found = (corrupt(images, name, severity=s, suite=suite) for s in (1, 2, 3, 4, 5))
    apart = (torch.maximum(one, images) - torch.minimum(one, images) for one in found)
    return [int(away.sum(dtype=torch.int64)) / images.numel() for away in apart]


@pytest.mark.parametrize("name", sorted(set(suites("imagenet_c")) - NOT_MONOTONE))
def test_every_severity_changes_more_than_the_one_before(name):
    found = differences(name)
    assert found == sorted(found)


@pytest.mark.parametrize("name", sorted(NOT_MONOTONE - {"saturate", "frost"}))
def test_the_last_severity_changes_more_than_the_first(name):
    found = differences(name)
    assert found[4] > found[0]


PUBLISHED_SO = {
    ("dermamnist", "black_corner"),  # 0.90 at 4, 0.95 at 5
    ("bloodmnist", "stain_deposit"),  # 3, 4 and 5 are one distribution but for the size of a mark
}


COUNTED = ("stain_deposit", "bubble", "characters")
"""Marks whose number is drawn: a mean over more images."""


@pytest.mark.every_nth(3)
@pytest.mark.parametrize("flag", REGISTRIES)
def test_severities_of_the_registries_grow_too(flag):
    for name in suites(flag):
        found = differences(name, flag, 48 if name in COUNTED else 4)
        assert min(found) > 0, name
        assert (flag, name) in PUBLISHED_SO or found == sorted(found), (name, found)
