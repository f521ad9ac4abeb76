"""The contracts of adapters: how a model is changed before it is evaluated, and how it is tuned."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias

from torch import Tensor, nn

from medrobust.exceptions import ConfigurationError, WeightsMismatchError

if TYPE_CHECKING:
    from .online import Online


class Adaptation(ABC):
    """How a model is changed before it is evaluated: what evaluation sees, whatever it is.

    Attributes:
        name: In tables and in the store.
        needs_tuning: Never; a `Recipe` does, which tuning makes an adaptation from.
    """

    __slots__ = ()
    name: str
    needs_tuning: ClassVar[bool] = False

    @property
    def stays_untuned(self) -> bool:
        """Whether `tuning=few_shot` may be given it: nothing is tuned, on purpose."""
        return False

    @property
    def tuned_how(self) -> tuple[str, ...]:
        """What the reader of its figures must know of how it was tuned: sentences."""
        return ()

    @abstractmethod
    def description(self) -> dict[str, Any]:
        """Plain values that decide what the adapter does: part of every cell's fingerprint."""

    @abstractmethod
    def attach(self, model: nn.Module) -> nn.Module:
        """Return the model as it is evaluated, changed in place."""

    def check_base(self, model_name: str, weights: str) -> None:
        """Refuse another base model than the one that was tuned.

        Raises:
            ConfigurationError: Naming both.
        """
        return

    def origin(self) -> dict[str, Any] | None:
        """Return what tells apart, and joins, several draws of one recipe; None untuned."""
        return None

    def made_from(self) -> Iterator[tuple[str, str]]:
        """Yield what it was made from, and the license of that."""
        return iter(())

    @property
    def methods(self) -> "tuple[Online, ...]":
        """What adapts its answers further, while it is evaluated; each has rows of its own."""
        return ()

    def method(self, described: Mapping[str, Any]) -> "Online":
        """Return the one of `methods` with that description, whatever the head adds to it."""
        fitting = (one for one in self.methods if _within(one.description(), described))
        return max(fitting, key=lambda one: len(one.description()))

    def name_with(self, described: Mapping[str, Any] | None) -> str:
        """Return its name with that of a method (None: none), as tables have it."""
        if described is None:
            return self.name
        own = "" if self.name == "none" else f"{self.name} + "
        return own + self.method(described).name

    def origin_with(self, described: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """Return `origin` with a method (None: none): several orders of the images are draws."""
        origin = self.origin()
        if described is None:
            return origin
        method, known = self.method(described), origin or {}
        label = str(known.get("label") or ("" if self.name == "none" else self.name))
        draws = [known.get("draw"), method.order if method.ordered else None]
        there = [one for one in draws if one is not None]
        draw = there[0] if len(there) == 1 else "/".join(map(str, there)) or None
        return {**known, "label": f"{label} + {method.label}".removeprefix(" + "), "draw": draw}

    @property
    def reads_patches(self) -> bool:
        """Whether the head that it brings reads patch features."""
        return False

    def head(self, dataset: str, class_names: Sequence[str] = ()) -> Any:
        """Return the module that answers for a data set, or None where it brings none."""
        return None

    def head_description(self, dataset: str, class_names: Sequence[str]) -> dict[str, Any] | None:
        """Return what decides the outputs of its head, or None where it brings none."""
        return None


@dataclass(frozen=True)
class NoAdapter(Adaptation):
    """The model as it was published.

    Attributes:
        name: In tables and in the store.
        baseline: Whether `tuning=few_shot` may be given it: nothing is tuned, on purpose.
        online: What adapts its answers while it is evaluated, each in a row of its own: names, or
            mappings of `method` and its parameters.
        orders: Of the images: a method that depends on their order has a row for each.
        protocol: When methods begin anew (episodic, per_cell, continual, mixed); None: as each was
            published.
    """

    name: str = "none"
    baseline: bool = False
    online: Sequence[Any] = ()
    orders: Sequence[int] = (0,)
    protocol: str | None = None

    def __post_init__(self) -> None:
        """Refuse methods that do not exist.

        Raises:
            MedRobustError: As `chosen` raises it.
        """
        _ = self.methods

    @cached_property
    def methods(self) -> "tuple[Online, ...]":
        """Those that `online` names."""
        if isinstance(self.online, list | tuple) and not self.online:
            return ()
        from .online import chosen

        return chosen(self.online, self.orders, self.protocol)

    @property
    def stays_untuned(self) -> bool:
        """As it was asked for."""
        return self.baseline

    def description(self) -> dict[str, Any]:
        """Nothing that decides anything."""
        return {}

    def attach(self, model: nn.Module) -> nn.Module:
        """Return the model itself."""
        return model


class Recipe(Protocol):
    """What `tuning=few_shot` makes an adaptation from.

    Attributes:
        needs_tuning: Always.
        trains_head: Whether a head is fitted on the features of the model as published, and the
            model stays as it is.
    """

    needs_tuning: ClassVar[bool]
    trains_head: ClassVar[bool]

    @property
    def name(self) -> str:
        """Name in tables and in the store."""
        ...

    def description(self) -> dict[str, Any]:
        """Plain values that decide what is trained."""
        ...


class HeadRecipe(Recipe, Protocol):
    """A recipe whose head is fitted on the features of a data set's shots."""

    @property
    def needs_selection(self) -> bool:
        """Whether something is chosen by images beside the shots."""
        ...

    def fit(
        self,
        features: Tensor,
        labels: Tensor,
        label_kind: Any,
        classes: int,
        selection: tuple[Tensor, Tensor] | None = None,
    ) -> nn.Module:
        """Fit one data set.

        Args:
            features: float32 (N, D) of unit norm.
            labels: int64 (N,), or (N, L) of zeros and ones.
            label_kind: Of the data set, as MedMNIST names it.
            classes: K, or L.
            selection: Features and labels of images beside the shots, if they are needed.

        Returns:
            A module with `logits(features)`; its state is what the artifact keeps.
        """
        ...


Adapter: TypeAlias = Adaptation | Recipe
"""What a file in conf/adapter builds."""


class Tunable(Recipe, Protocol):
    """A way to change a model by gradient steps.

    The model is changed in place. Right after `attach` it computes what it computed before, to the
    last bit.
    """

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

    def further_files(self, model: nn.Module, source: str) -> dict[str, bytes]:
        """Return the files of an artifact that describe how the state is attached.

        Args:
            model: To which it is attached.
            source: Hub id, or what else names the base model.
        """
        ...


def _within(part: Mapping[str, Any], whole: Mapping[str, Any]) -> bool:
    return part == {name: value for name, value in whole.items() if name in part}


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
