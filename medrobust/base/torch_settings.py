"""What torch holds for a whole process: how it is put back, and what evaluation works without."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

AUTOCAST = ("cpu", "cuda", "xpu", "mps", "hpu", "ipu", "xla", "mtia", "maia")
"""Kinds of devices that autocast knows; one more may be registered from outside."""


class _Flag(NamedTuple):
    get: Callable[[], Any]
    set: Callable[[Any], object]


class _Mixed(NamedTuple):
    """Stands for a flag that torch refuses to read once the precisions by device are set."""


def remember() -> Callable[[], None]:
    """Note the flags of torch; call what is returned to put them back.

    The precision of float32 has a former flag (`allow_tf32`, `set_float32_matmul_precision`) and
    one by device (`fp32_precision`). Setting the first sets the second, not the other way round;
    where they disagree torch refuses to read the first, and then the second says it all.
    """
    former, by_device = _flags(), _precisions()
    found = [_read(flag) for flag in former]
    precisions = [flag.get() for flag in by_device]

    def restore() -> None:
        for flag, value in zip(former, found, strict=True):
            if not isinstance(value, _Mixed) and _read(flag) != value:
                flag.set(value)
        for flag, value in zip(by_device, precisions, strict=True):
            if flag.get() != value:
                flag.set(value)

    return restore


@contextmanager
def plain_torch() -> Iterator[None]:
    """Work without the caller's autocast, default device, default dtype and precisions by device.

    What is evaluated, and in which precision, is for the arguments to say.
    """
    import torch

    with ExitStack() as stack:
        for kind in (*AUTOCAST, torch._C._get_privateuse1_backend_name()):
            if _autocasts(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        stack.enter_context(torch.device("cpu"))
        if torch.get_default_dtype() != torch.float32:
            stack.callback(torch.set_default_dtype, torch.get_default_dtype())
            torch.set_default_dtype(torch.float32)
        if any(isinstance(_read(flag), _Mixed) for flag in _flags()):
            stack.callback(remember())
            torch.set_float32_matmul_precision("highest")
            torch.backends.cuda.matmul.allow_tf32 = False
            torch.backends.cudnn.allow_tf32 = True  # as torch starts
        yield


def _autocasts(kind: str) -> bool:
    import torch

    try:
        return torch.is_autocast_enabled(kind)
    except RuntimeError:  # a kind that this release does not know
        return False


def _read(flag: _Flag) -> Any:
    try:
        return flag.get()
    except RuntimeError:  # of these flags torch raises it for this reason alone
        return _Mixed()


def _attribute(owner: Any, name: str) -> _Flag:
    return _Flag(lambda: getattr(owner, name), lambda value: setattr(owner, name, value))


def _flags() -> list[_Flag]:
    import torch
    from torch.backends import cudnn

    return [
        _Flag(torch.get_default_dtype, torch.set_default_dtype),
        _Flag(torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
        _Flag(
            torch.get_deterministic_debug_mode,
            torch.set_deterministic_debug_mode,
        ),
        _Flag(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        _Flag(torch.get_num_threads, torch.set_num_threads),
        _Flag(torch.is_grad_enabled, torch.set_grad_enabled),
        _attribute(cudnn, "benchmark"),
        _attribute(cudnn, "deterministic"),
        _attribute(cudnn, "enabled"),
        _attribute(cudnn, "allow_tf32"),
        _attribute(torch.backends.cuda.matmul, "allow_tf32"),
    ]


def _precisions() -> list[_Flag]:
    """Return the precisions by device, a whole before its parts; none of a torch before 2.9."""
    from torch import backends

    cudnn, mkldnn = backends.cudnn, backends.mkldnn
    owners = [backends, backends.cuda.matmul, cudnn, mkldnn]
    owners += [getattr(of, part, None) for of in (cudnn, mkldnn) for part in ("conv", "rnn")]
    owners.append(getattr(mkldnn, "matmul", None))
    return [_attribute(one, "fp32_precision") for one in owners if hasattr(one, "fp32_precision")]
