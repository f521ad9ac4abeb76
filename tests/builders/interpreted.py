"""Triton's interpreter, sparing it what it does anew for every operation of every program."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import triton.language as tl
from triton.runtime import interpreter


def hasten(patch: pytest.MonkeyPatch) -> None:
    """Let it take half as long: what it computes stays the same."""
    _make_integers_once(patch)
    _translate_the_language_once(patch)
    _look_types_up(patch)
    _describe_each_type_once(patch)


def _make_integers_once(patch: pytest.MonkeyPatch) -> None:
    """It makes each sum, difference and product of 32 bits in 64 bits too, to see that none is
    too large, which takes as long as all the rest. A GPU does not either."""
    once = replace(interpreter.interpreter_builder.options, sanitize_overflow=False)
    patch.setattr(interpreter.interpreter_builder, "options", once)


def _translate_the_language_once(patch: pytest.MonkeyPatch) -> None:
    """At each launch, and each call within one, it replaces all functions of `tl`."""
    translate, translated = interpreter._patch_lang, set[str]()

    class Kept:
        def restore(self) -> None: ...

    def once(fn: Any) -> Kept:
        if fn.__module__ not in translated:
            translate(fn)
            translated.add(fn.__module__)
        return Kept()

    patch.setattr(interpreter, "_patch_lang", once)


def _look_types_up(patch: pytest.MonkeyPatch) -> None:
    """For each type of numpy that it wants to know, it fills a dictionary of all of them."""
    find, found = interpreter._get_np_dtype, dict[str, np.dtype[Any]]()

    def known(dtype: Any) -> np.dtype[Any]:
        name = dtype.scalar.name
        if name not in found:
            found[name] = find(dtype)
        return found[name]

    patch.setattr(interpreter, "_get_np_dtype", known)


def _describe_each_type_once(patch: pytest.MonkeyPatch) -> None:
    """With each value it makes, it checks, counts, names and wraps the sides of its block."""
    describe, described = tl.block_type.__init__, dict[tuple[Any, ...], dict[str, Any]]()
    make = tl.tensor.__init__

    def block(self: Any, element_ty: Any, shape: Any) -> None:
        key = (element_ty.name, *(getattr(side, "value", side) for side in shape))
        if key in described:
            self.__dict__ = described[key]
        else:
            describe(self, element_ty, shape)
            described[key] = self.__dict__

    def tensor(self: Any, handle: Any, type: Any) -> None:
        alike = type.__dict__.get("of_tensors")
        if alike is None:
            make(self, handle, type)
            type.of_tensors = {name: part for name, part in vars(self).items() if name != "handle"}
        else:
            self.__dict__.update(alike, handle=handle)

    patch.setattr(tl.block_type, "__init__", block)
    patch.setattr(tl.tensor, "__init__", tensor)
