"""Strict loading: every key of a checkpoint is used, renamed by a rule, or dropped for a reason."""

import logging
import pickle
import re
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from medrobust.exceptions import WeightsMismatchError

from .file_kinds import POINTER, not_weights

POSITION_IDS = {r".*\.position_ids": "index buffer, which the model makes itself"}
"""Drop rule for checkpoints of transformers 4."""

LEAST_SCALE, MOST_SCALE = 1e-6, 1e6
"""Multipliers of the cosine beyond which probabilities are all equal, or all 0 and 1."""


@dataclass(frozen=True, slots=True)
class Rename:
    """One step from a key of the model to the key of the checkpoint.

    Attributes:
        pattern: Regular expression, replaced wherever it is found in the key.
        replacement: As of `re.sub`.
        part: Which of three equal blocks of rows is taken (0, 1, 2: query, key and value of a
            fused projection), or None for the whole tensor.
    """

    pattern: str
    replacement: str
    part: int | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of the keys of a checkpoint; see `LoadReport`."""

    used: int
    renamed: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Origin:
    key: str
    part: int | None


def read_checkpoint(path: Path, entry: str = "state_dict") -> dict[str, Tensor]:
    """Read tensors from a safetensors file, or from a pickle that holds tensors only.

    A trainer's `{"state_dict": ...}` is unwrapped, and the prefix `module.` of parallel training is
    removed where every key has it. A bare tensor is named by the empty string.

    Args:
        path: The file.
        entry: Where a trainer's checkpoint keeps the table of tensors.

    Raises:
        WeightsMismatchError: If the file is damaged, or holds anything but tensors.
    """
    if path.suffix == ".safetensors":
        return _plain_names(_read_safetensors(path))
    reason = not_weights(path)
    if reason is not None:
        raise WeightsMismatchError(reason)
    try:
        content = torch.load(
            path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
        )
    except pickle.UnpicklingError as error:
        if "Unsupported operand" in str(error):  # a byte that begins nothing
            raise WeightsMismatchError(
                f"{path.name} is damaged, or holds more than tensors, and is refused. Fetch it "
                f"again, or turn it into safetensors with: medrobust convert FILE"
            ) from error
        raise WeightsMismatchError(
            f"{path.name} holds more than tensors, which could run code when opened, and is "
            f"refused. Turn it into safetensors with: medrobust convert FILE"
        ) from error
    except Exception as error:  # the reader of PyTorch raises nearly every class there is
        if "TorchScript" in str(error):
            raise WeightsMismatchError(
                f"{path.name} is a TorchScript archive, which is code as well as weights, and is "
                f"refused. Take the same weights from a repository that publishes tensors."
            ) from error
        raise WeightsMismatchError(
            f"{path.name} is damaged or no checkpoint of PyTorch. Fetch it again."
        ) from error
    if isinstance(content, dict) and isinstance(content.get(entry), dict):
        content = content[entry]
    if isinstance(content, Tensor):
        content = {"": content}
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise WeightsMismatchError(f"{path.name} is no table of tensors by name.")
    if not all(isinstance(key, str) for key in content):
        raise WeightsMismatchError(f"{path.name} has tensors that are numbered, not named.")
    return _plain_names(content)


def _plain_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if all(key.startswith("module.") for key in state):
        return {key.removeprefix("module."): value for key, value in state.items()}
    return dict(state)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    with path.open("rb") as file:
        start = file.read(len(POINTER))
    if not start or start == POINTER:
        raise WeightsMismatchError(str(not_weights(path)))
    try:
        state: dict[str, Tensor] = load_file(path)
    except SafetensorError as error:
        raise WeightsMismatchError(
            f"{path.name} is damaged or no safetensors file ({error}). Fetch it again."
        ) from error
    return state


def load_strict(
    module: nn.Module,
    state: Mapping[str, Tensor],
    *,
    file: str,
    renames: Sequence[Rename] = (),
    drops: Mapping[str, str] | None = None,
) -> Loaded:
    """Give `module` (best made on the meta device) the tensors of a checkpoint.

    Floating tensors become float32. Nothing is left at an initial value, and every parameter is
    frozen: torch takes another matrix product, which may round otherwise, where a weight may be
    trained, so that bits must not depend on who has frozen what before.

    Args:
        module: Its parameters and buffers are replaced.
        state: Checkpoint key -> tensor.
        file: Name of the checkpoint, for messages.
        renames: Applied in order to each key of the model, to find its key in the checkpoint.
        drops: Pattern of a whole checkpoint key -> reason why it is not needed.

    Raises:
        WeightsMismatchError: If a key is missing, left over or of another shape; it is named as in
            the checkpoint.
    """
    origins = {key: _origin(key, renames) for key in module.state_dict()}
    wanted = {origin.key for origin in origins.values()}
    dropped = {
        key: reason
        for key in state.keys() - wanted
        for pattern, reason in (drops or {}).items()
        if re.fullmatch(pattern, key)
    }
    missing = wanted - state.keys()
    extra = state.keys() - wanted - dropped.keys()
    if missing or extra:
        raise WeightsMismatchError(
            f"{file} does not fit the model it was named for. Missing: {some(missing)}. "
            f"Left over: {some(extra)}. Nothing was loaded."
        )
    needed = module.state_dict()
    floating = {o.key for key, o in origins.items() if needed[key].is_floating_point()}
    check_kinds({key: state[key] for key in wanted}, floating, file)
    check_finite({key: state[key] for key in wanted}, file)
    taken = {key: _take(state[origin.key], origin.part) for key, origin in origins.items()}
    _check_shapes(module, taken, origins, file)
    module.load_state_dict(taken, strict=True, assign=True)
    module.requires_grad_(False)
    _restore_buffers(module)
    return Loaded(
        used=len(wanted), renamed=_renamed(origins), dropped=dict(sorted(dropped.items()))
    )


def check_kinds(state: Mapping[str, Tensor], floating: Collection[str], file: str) -> None:
    """Refuse tensors that are no plain numbers, as quantised weights are not.

    Args:
        state: Checkpoint key -> tensor.
        floating: Keys that the model needs as floating-point numbers.
        file: Name of the checkpoint, for messages.

    Raises:
        WeightsMismatchError: If there are; names their keys.
    """
    odd = {key: kind for key, value in state.items() if (kind := _odd_kind(value, key in floating))}
    if odd:
        raise WeightsMismatchError(
            f"{file} holds {', '.join(sorted(set(odd.values())))} where the model needs "
            f"floating-point weights of 16 bits or more: {some(odd)}. Take the weights as they "
            f"were before quantisation or compression."
        )


def check_finite(state: Mapping[str, Tensor], file: str) -> None:
    """Refuse weights with which no features can be computed. A mask may be infinite.

    Args:
        state: Checkpoint key -> tensor.
        file: Name of the checkpoint, for messages.

    Raises:
        WeightsMismatchError: If a value is NaN or infinite; names its key.
    """
    broken = [
        key
        for key, value in state.items()
        if value.is_floating_point() and not _all_finite(value) and not key.endswith("mask")
    ]
    if broken:
        raise WeightsMismatchError(
            f"{file} has weights that are NaN or infinite: {some(broken)}. No image could be "
            f"classified with them. Take a checkpoint from before its training broke down."
        )


def _all_finite(value: Tensor) -> bool:
    """Ask the sum first, which NaN and infinity spoil: it takes a fifteenth of the time."""
    has_sum = value.element_size() > 1  # torch adds no numbers of 8 bits
    return (has_sum and bool(value.sum().isfinite())) or bool(value.isfinite().all())


def multiplier(logarithm: Tensor) -> float:
    """Return the multiplier of the cosine, of which a checkpoint holds the logarithm.

    Args:
        logarithm: One number.

    Raises:
        WeightsMismatchError: If with it no class, or all of them alike, would ever be chosen.
    """
    value = float(logarithm.detach())
    scale = float(logarithm.detach().exp())
    if not LEAST_SCALE < scale < MOST_SCALE:
        raise WeightsMismatchError(
            f"the checkpoint's logit_scale is {value:g}, so its logit scale would be "
            f"exp({value:g}) = {scale:g}; that of a trained model lies near 100. Perhaps the "
            f"multiplier itself was stored: its logarithm is needed. Fetch the weights again."
        )
    return scale


def _odd_kind(value: Tensor, floating: bool) -> str | None:
    """Name what a tensor is, if no model can be made of it."""
    name = str(value.dtype).removeprefix("torch.")
    if value.is_meta:
        return "names without values (meta tensors)"
    if value.is_quantized or value.is_complex():
        return name
    if value.layout != torch.strided:
        return "sparse tensors"
    small = value.is_floating_point() and value.element_size() == 1
    return name if floating and (small or not value.is_floating_point()) else None


def _origin(key: str, renames: Sequence[Rename]) -> _Origin:
    part = None
    for rename in renames:
        key, count = re.subn(rename.pattern, rename.replacement, key)
        if count and rename.part is not None:
            part = rename.part
    return _Origin(key, part)


def _take(tensor: Tensor, part: int | None) -> Tensor:
    if part is not None:
        tensor = tensor.tensor_split(3)[part]
    return tensor.float() if tensor.is_floating_point() else tensor


def _check_shapes(
    module: nn.Module, taken: Mapping[str, Tensor], origins: Mapping[str, _Origin], file: str
) -> None:
    for key, needed in module.state_dict().items():
        found = taken[key].shape
        if found != needed.shape:
            third = "a third of " if origins[key].part is not None else ""
            raise WeightsMismatchError(
                f"{file} does not fit the model it was named for: {third}{origins[key].key} has "
                f"the shape {tuple(found)}, the model needs {tuple(needed.shape)}. "
                f"Nothing was loaded."
            )


def _renamed(origins: Mapping[str, _Origin]) -> dict[str, str]:
    """Return checkpoint key -> model keys, for those that differ."""
    renamed: dict[str, str] = {}
    for key, origin in origins.items():
        if key != origin.key:
            renamed[origin.key] = f"{renamed[origin.key]}, {key}" if origin.key in renamed else key
    return renamed


def _restore_buffers(module: nn.Module) -> None:
    """Fill the index buffers of transformers, which no checkpoint holds."""
    for name, buffer in list(module.named_buffers()):
        if not buffer.is_meta:
            continue
        owner, _, leaf = name.rpartition(".")
        values = {
            "position_ids": torch.arange(buffer.shape[-1]).expand(buffer.shape).clone(),
            "token_type_ids": torch.zeros(buffer.shape, dtype=buffer.dtype),
        }
        module.get_submodule(owner).register_buffer(leaf, values[leaf], persistent=False)


def some(keys: Iterable[str]) -> str:
    """List the first five keys, for a message.

    Example:
        >>> some(["a", "b"])
        'a, b'
    """
    listed = sorted(keys)
    more = f" and {len(listed) - 5} more" if len(listed) > 5 else ""
    return (", ".join(listed[:5]) or "none") + more


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep libraries from warning of random weights, which are all replaced or refused."""
    from transformers.utils import logging as transformers_logging

    before, bar = logging.root.manager.disable, transformers_logging.is_progress_bar_enabled()
    logging.disable(logging.WARNING)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.disable(before)
        if bar:
            transformers_logging.enable_progress_bar()
