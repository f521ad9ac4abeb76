"""Rows of a pass lie in one block of memory, whatever they come in."""

import weakref

import pytest
import torch

from medrobust.engine.filling import Filling
from medrobust.exceptions import MedRobustError


def test_parts_come_back_in_order_and_none_of_them_stays_in_memory() -> None:
    whole, filling, parts = torch.arange(21.0).reshape(7, 3), Filling(7), []
    for start, end in ((0, 3), (3, 3), (3, 7)):
        part = whole[start:end].clone()
        filling.add(part)
        place = filling.rows().data_ptr()
        parts.append((weakref.ref(part), place))
        del part
    assert torch.equal(filling.rows(), whole)
    assert [one() for one, _ in parts] == [None] * 3
    assert len({place for _, place in parts}) == 1
    assert len(filling) == 7


def test_rows_that_do_not_belong_together_are_refused() -> None:
    for odd in (torch.zeros(2, 1), torch.zeros(2, 3).double(), torch.zeros(6, 3)):
        filling = Filling(7)
        filling.add(torch.zeros(2, 3))
        with pytest.raises(MedRobustError, match="needs one shape and type"):
            filling.add(odd)
    with pytest.raises(MedRobustError, match="no rows of this pass"):
        Filling(3).rows()
