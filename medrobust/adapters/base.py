"""The contracts of adapters: how a model is changed before it is evaluated, and how it is tuned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from medrobust.exceptions import ConfigurationError, WeightsMismatchError


class Adapter(Protocol):
    """What a file in conf/adapter builds."""

    @property
    def name(self) -> str:
        """Name in tables and in the store."""
        ...

    @property
    def protocol(self) -> tuple[str, ...]:
        """What the reader of its figures must know of how it was tuned: sentences."""
        ...

    def description(self) -> dict[str, Any]:
        """Plain values that decide what the adapter does: part of every cell's fingerprint."""
        ...

    def attach(self, model: nn.Module) -> Any:
        """Change the model; of one that only evaluates, return the adapted model."""
        ...


@dataclass(frozen=True, slots=True)
class NoAdapter:
    """The model as it was published.

    Attributes:
        name: In tables and in the store.
        baseline: Whether `tuning=few_shot` may be given it: nothing is tuned, on purpose.
    """

    name: str = "none"
    baseline: bool = False

    @property
    def protocol(self) -> tuple[str, ...]:
        """Nothing was tuned."""
        return ()

    def description(self) -> dict[str, Any]:
        """Nothing that decides anything."""
        return {}

    def attach(self, model: nn.Module) -> nn.Module:
        """Return the model itself."""
        return model


@runtime_checkable
class Tunable(Protocol):
    """A way to change a model by gradient steps: what `tuning=few_shot` tunes.

    The model is changed in place. Right after `attach` it computes what it computed before, to the
    last bit.
    """

    @property
    def name(self) -> str:
        """Name in tables and in the store."""
        ...

    def description(self) -> dict[str, Any]:
        """Plain values that decide what is trained."""
        ...

    def attach(self, model: nn.Module, *, seed: int = 0) -> tuple[str, ...]:
        """Make what is trained, and freeze the rest.

        Args:
            model: Changed in place.
            seed: Of the first values.

        Returns:
            Names of the modules that were touched, at least one.

        Raises:
            ConfigurationError: If nothing, or what must not be touched, is named.
        """
        ...

    def state(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the tuned tensors alone, under the names that the artifact keeps."""
        ...

    def load_state(self, model: nn.Module, state: Mapping[str, Tensor]) -> None:
        """Put tuned tensors into an attached model.

        Raises:
            WeightsMismatchError: If a name is missing, left over or of another shape.
        """
        ...

    def merge(self, model: nn.Module) -> None:
        """Fold what was tuned into the weights of the model, and leave nothing beside them."""
        ...

    def detach(self, model: nn.Module) -> None:
        """Take away what was attached: the model is again what it was before."""
        ...

    def must_move(self, model: nn.Module) -> dict[str, nn.Parameter]:
        """Return the parameters that the first real step must change, by name."""
        ...

    def files(self, state: Mapping[str, Tensor]) -> dict[str, bytes]:
        """Return the files of an artifact that hold the state: name -> content."""
        ...


def visual_tower(model: nn.Module) -> str:
    """Return the prefix, with a dot, of the modules of the image side.

    Models of the zoo keep it as `visual_encoder`; where a library's whole model lies below that
    name, its own `visual` is meant. An own model without such a part is one tower.

    Raises:
        ConfigurationError: If an own dual encoder does not say which part is its image side.
    """
    names = {name for name, _ in model.named_modules()}
    for tower in ("visual_encoder.model.visual", "visual_encoder", "encoder.visual"):
        if tower in names:
            return f"{tower}."
    if "module" in names:
        return "module."
    raise ConfigurationError(
        f"{type(model).__name__} does not say which part is its image side, so that an adapter "
        f"could touch the text side. Keep the image side in a submodule called `visual`."
    )


def parent_of(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    """Return the module that holds the submodule `name`, and the last part of the name."""
    owner, _, leaf = name.rpartition(".")
    return model.get_submodule(owner), leaf


def check_keys(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], what: str) -> None:
    """Refuse tensors that are not exactly those that are wanted.

    Raises:
        WeightsMismatchError: Naming the first that is missing, left over or of another shape.
    """
    missing = sorted(wanted.keys() - found.keys())
    extra = sorted(found.keys() - wanted.keys())
    shapes = sorted(
        name for name in wanted.keys() & found.keys() if wanted[name].shape != found[name].shape
    )
    if missing or extra or shapes:
        raise WeightsMismatchError(
            f"{what} does not fit this model. Missing: {_few(missing)}. Left over: {_few(extra)}. "
            f"Of another shape: {_few(shapes)}. Nothing was loaded."
        )


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return (", ".join(names[:3]) or "none") + more
