"""A tuned adapter on disk, in the ecosystem's form, and the adapter that evaluates it.

A folder holds::

    adapter_model.safetensors    the tuned tensors alone (of a probe: its heads)
    adapter_config.json          of low-rank updates: what `PeftModel.from_pretrained` reads; of
                                 residual adapters: where they are
    heads.safetensors            heads that were fitted on what the tuned tower sees, if asked for
    medrobust.json               recipe, base model, data, metrics, checksums
    README.md                    the card

A folder of peft without `medrobust.json` is taken too, if its tensors fit the model exactly.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import torch
from torch import Tensor, nn

from medrobust.base.fingerprints import file_fingerprint
from medrobust.base.safe_files import json_object
from medrobust.base.seals import read_sealed, sealed_json
from medrobust.base.wording import counted
from medrobust.exceptions import (
    ConfigurationError,
    StoreError,
    WeightsMismatchError,
    WeightsNotFoundError,
)
from medrobust.models.loading import read_checkpoint

from .attention import Pooled
from .base import Adaptation, Tunable
from .intervention import KIND as INTERVENTION
from .intervention import Intervene
from .linear_probe import Probe
from .lora import (
    CONFIG,
    WEIGHTS,
    Lora,
    attach_described,
    digest_of_updated,
    updated_modules,
)
from .nearest_neighbours import Neighbours
from .online import Online, chosen
from .residual import KIND, Mvfa
from .stored_heads import HEADS, packed_heads, stored_head
from .weights import WeightTuning

FORMAT = 1
RECORD, CARD = "medrobust.json", "README.md"

PARTS: Mapping[str, type] = MappingProxyType(
    {
        "files": dict,
        "base": dict,
        "recipe": dict,
        "task": dict,
        "data": list,
        "kind": str,
        "protocol": list,
    }
)
"""What a record holds of what kind, where it holds it."""


def artifact_files(
    recipe: Tunable,
    model: nn.Module,
    state: Mapping[str, Tensor],
    record: Mapping[str, Any],
    heads: Mapping[str, nn.Module] | None = None,
) -> dict[str, bytes]:
    """Return the files of an artifact: name -> content.

    Args:
        recipe: What was tuned.
        model: To which it is attached.
        state: What `recipe.state` gave.
        record: Plain values for `medrobust.json`; "base" names the model.
        heads: Fitted on what the tuned tower sees, one a data set; None: class texts answer.
    """
    files = recipe.files(state) | recipe.further_files(model, record["base"]["source"])
    if heads is not None:
        files[HEADS] = packed_heads(heads)
    return with_record(files, record)


def probe_files(heads: Mapping[str, nn.Module], record: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the files of fitted heads, one a data set."""
    return with_record({WEIGHTS: packed_heads(heads)}, record)


def with_record(files: dict[str, bytes], record: Mapping[str, Any]) -> dict[str, bytes]:
    """Add the record, with the checksum of every file, and the card."""
    return {**files, RECORD: record_of(files, record), CARD: card(record).encode()}


def record_of(files: Mapping[str, bytes], record: Mapping[str, Any]) -> bytes:
    """Return the content of `medrobust.json`: plain values, checksums of all files, a seal."""
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return sealed_json({"format": FORMAT, **record, "files": sums})


def card(record: Mapping[str, Any]) -> str:
    """Write the card of an artifact: what it is, what it was made from, what it may be used for."""
    base, metrics = record["base"], record["metrics"]
    lines = [
        "---",
        f"base_model: {base['source']}",
        "library_name: peft" if record["kind"] == "lora" else "library_name: medrobust",
        f"license: {base['license'] or 'unknown'}",
        "---",
        "",
        f"# {record['name']} for {base['name']}",
        "",
        f"Made by `tuning=few_shot` of medrobust {record['versions'].get('medrobust', '')}. "
        "The weights of the base model are not in this folder; its license holds for this one too.",
        "",
        f"- base model: {base['source']} {base['revision']}".rstrip()
        + f", weights {base['weights'][:12]}",
        f"- recipe: `{json.dumps(record['recipe'], sort_keys=True)}`",
        f"- training: `{json.dumps(record['task'], sort_keys=True)}`",
        f"- prompts: `{json.dumps(record['prompts'], sort_keys=True)}`",
    ]
    for data in record["data"]:
        lines.append(
            f"- data: {data['dataset']}/{data['pool']}, {counted(len(data['shots']), 'image')} "
            f"(license: {data['license'] or 'unknown'}); chosen by "
            f"{counted(len(data['selection']), 'image')} of {data['selection_split'] or 'no split'}"
        )
        lines += [f"  - {note}" for note in data["notes"]]
    lines += [f"- protocol: {sentence}" for sentence in record.get("protocol", ())]
    lines += [f"- {name}: {value}" for name, value in metrics.items()]
    lines += ["", "Ids of the images are in `medrobust.json`; those of own data are keyed hashes."]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Tuned(Adaptation):
    """A tuned adapter from its folder.

    Args:
        path: The folder.
        name: In tables and in the store; None: as the folder's record says, else "adapter".
        interpolation: Share of the way from the weights of the base model (0) to the tuned ones
            (1), by arXiv:2109.01903 (WiSE-FT).
        online: What adapts its answers while it is evaluated, each in a row of its own.
        orders: Of the images: a method that depends on their order has a row for each.
        protocol: When methods begin anew; None: as each was published.
    """

    path: str
    name: str = ""
    interpolation: float = 1.0
    online: Sequence[Any] = ()
    orders: Sequence[int] = (0,)
    protocol: str | None = None
    _folder: Path = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Find the folder, and refuse one that was changed.

        Raises:
            WeightsNotFoundError: If there is no adapter in it.
            StoreError: If a file is not the one that was written.
            ConfigurationError: If the interpolation is outside [0, 1], or asked of a probe.
        """
        folder = Path(self.path).expanduser().absolute()
        object.__setattr__(self, "_folder", folder)
        if not (folder / WEIGHTS).is_file():
            raise WeightsNotFoundError(
                f"no {WEIGHTS} in adapter.path={self.path!r}. Give the folder of an adapter: one "
                f"below STORE/adapters, or one that peft has saved as safetensors."
            )
        for name, digest in self.record.get("files", {}).items():
            if not (folder / name).is_file() or file_fingerprint(folder / name) != digest:
                raise StoreError(
                    f"{folder / name} is missing or not the file that was written. Delete the "
                    f"folder and tune again, or fetch it again."
                )
        if not self.name:
            object.__setattr__(self, "name", str(self.record.get("name", "adapter")))
        fixed = self.kind in ("probe", KIND, INTERVENTION) or self._heads is not None
        if not 0 <= self.interpolation <= 1 or (self.interpolation != 1 and fixed):
            raise ConfigurationError(
                f"adapter.interpolation={self.interpolation} must be between 0 and 1, and 1 for a "
                f"fitted head, which knows one encoder, or residual adapters and interventions, "
                f"which change no weight."
            )
        if self.interpolation != 1:
            object.__setattr__(self, "name", f"{self.name}, {self.interpolation:g} of the way")
        _ = self.methods

    @cached_property
    def methods(self) -> tuple[Online, ...]:
        """Those that `online` names."""
        return chosen(self.online, self.orders, self.protocol)

    @cached_property
    def record(self) -> dict[str, Any]:
        """The content of `medrobust.json`; empty for a folder of peft alone."""
        path = self._folder / RECORD
        if not os.path.lexists(path):
            return {}
        try:
            value = read_sealed(path)
        except (OSError, ValueError) as error:
            raise StoreError(f"{path} cannot be read ({error}). Tune again.") from error
        if value.get("format") != FORMAT:
            raise StoreError(f"{path} is not of format {FORMAT}. Tune again.")
        for name, kind in PARTS.items():
            if not isinstance(value.get(name, kind()), kind):
                raise StoreError(f"{path} has no readable {name!r}. Tune again.")
        base = value.get("base", {"name": "", "weights": ""})
        if "name" not in base or not {"weights", "updated"} & base.keys():
            raise StoreError(f"{path} does not say what model it was made from. Tune again.")
        return value

    @property
    def kind(self) -> str:
        """Return "lora", "weights", "mvfa", "intervention" or "probe"."""
        return str(self.record.get("kind", "lora"))

    def origin(self) -> dict[str, Any]:
        """Return what tells apart, and joins, several draws of one recipe: label and draw."""
        part = "" if self.interpolation == 1 else f", {self.interpolation:g} of the way"
        return {
            "label": f"{self.record.get('label', self.name)}{part}",
            "draw": self.record.get("task", {}).get("shot_seed"),
            "fingerprint": self.record.get("fingerprint"),
        }

    def made_from(self) -> Iterator[tuple[str, str]]:
        """Yield base model and data with their licenses; without a record nothing is known."""
        base = self.record.get("base", {"name": "unknown", "license": ""})
        yield f"base model {base['name']!r}", str(base["license"])
        for data in self.record.get("data", ()):
            yield f"training data {data['dataset']!r}", str(data["license"])

    @property
    def tuned_how(self) -> tuple[str, ...]:
        """What the reader of its figures must know of how it was tuned, in sentences."""
        return tuple(str(sentence) for sentence in self.record.get("protocol", ()))

    def check_base(self, model_name: str, weights: str) -> None:
        """Refuse another base model than the one that was tuned.

        Raises:
            ConfigurationError: Naming both.
        """
        base = self.record.get("base")
        if base is not None and base.get("weights", weights) != weights:
            raise ConfigurationError(
                f"adapter.path={self.path!r} was tuned on {base['name']} with weights "
                f"{base['weights'][:12]}, and model={model_name} has weights {weights[:12]}. "
                f"Choose that model, or tune this one with tuning=few_shot."
            )

    def description(self) -> dict[str, Any]:
        """Return the checksums of the tensors and how far to go; nothing for a probe."""
        if self.kind == "probe":
            return {}
        named = [self._folder / name for name in (WEIGHTS, CONFIG)]
        files = {path.name: file_fingerprint(path) for path in named if path.exists()}
        return {"files": files, "interpolation": self.interpolation}

    def attach(self, model: nn.Module) -> nn.Module:
        """Fold the tuned weights into the model, and return it.

        Raises:
            WeightsMismatchError: If the tensors do not fit the model exactly.
        """
        if self.kind == "probe":
            return model
        state = read_checkpoint(self._folder / WEIGHTS)
        if not all(value.isfinite().all() for value in state.values()):
            raise WeightsMismatchError(
                f"{self._folder / WEIGHTS} holds values that are no numbers."
            )
        self._check_updated(model, state)
        before = {}
        if self.interpolation != 1:
            before = {name: value.detach().clone() for name, value in _numbers(model)}
        recipe = self._recipe(model, state)
        recipe.load_state(model, state)
        try:
            recipe.merge(model)
        except ValueError as error:  # of peft, for products beyond all numbers
            raise WeightsMismatchError(
                f"{self._folder / WEIGHTS} makes weights that are no numbers."
            ) from error
        with torch.no_grad():
            for name, value in _numbers(model) if before else ():
                value.copy_(torch.lerp(before[name], value, self.interpolation))
        return model.eval().requires_grad_(False)

    def _check_updated(self, model: nn.Module, state: Mapping[str, Tensor]) -> None:
        """Refuse a model whose weights are not those that the updates were made for.

        A folder that was converted from a checkpoint knows no file of the base model, but the
        weights that lay beside the updates.

        Raises:
            ConfigurationError: Naming the base model.
        """
        base = self.record.get("base", {})
        known, modules = dict(model.named_modules()), updated_modules(state)
        if "updated" not in base or not known.keys() >= set(modules):
            return  # another model altogether is refused where the updates are attached
        found = digest_of_updated({name: cast(Tensor, known[name].weight) for name in modules})
        if found != base["updated"]:
            raise ConfigurationError(
                f"adapter.path={self.path!r} was tuned on {base['name']} with updated weights "
                f"{base['updated'][:12]}, and those of this model are {found[:12]}. Choose that "
                f"model, or tune this one with tuning=few_shot."
            )

    def _recipe(self, model: nn.Module, state: Mapping[str, Tensor]) -> Tunable:
        """Attach what the folder describes, with first values."""
        if self.kind == "weights":
            tuning = WeightTuning(which=self.record["recipe"]["which"])
            tuning.attach(model)
            return tuning
        if self.kind in (KIND, INTERVENTION):
            file = self._folder / CONFIG
            described = Mvfa.described if self.kind == KIND else Intervene.described
            recipe: Tunable = described(json_object(file), str(file))
            recipe.attach(model)
            return recipe
        attach_described(model, self._folder / CONFIG, state)
        return Lora()

    @property
    def reads_patches(self) -> bool:
        """Whether its head pools places of the image."""
        recipe = self.record.get("recipe", {})
        return self.kind == "probe" and recipe.get("head") == "attention_probe"

    @property
    def _heads(self) -> Path | None:
        """The file of fitted heads; None where class texts classify."""
        if self.kind == "probe":
            return self._folder / WEIGHTS
        return self._folder / HEADS if HEADS in self.record.get("files", {}) else None

    def head(
        self, dataset: str, class_names: Sequence[str] = ()
    ) -> Probe | Neighbours | Pooled | None:
        """Return the fitted head of a data set, or None where class texts classify.

        Args:
            dataset: Its name.
            class_names: In label order: a head that was fitted on exactly these classes serves
                another data set too.

        Raises:
            ConfigurationError: If there are heads, and none of that data set.
        """
        if self._heads is None:
            return None
        return stored_head(self._heads, self.record["data"], dataset, class_names)

    def head_description(self, dataset: str, class_names: Sequence[str]) -> dict[str, Any] | None:
        """Return what decides the logits of a head, or None where class texts classify."""
        if self._heads is None:
            return None
        self.head(dataset, class_names)
        digest = file_fingerprint(self._heads)
        classes = list(class_names)
        return {"kind": "probe", "dataset": dataset, "class_names": classes, "weights": digest}


def _numbers(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Go over the weights, and the statistics of normalisation layers."""
    yield from model.named_parameters()
    yield from ((name, value) for name, value in model.named_buffers() if value.is_floating_point())
