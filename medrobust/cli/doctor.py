"""`medrobust doctor`: what is installed and what is here, and what to do about what is not."""

import json
import os
import platform
import re
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, Literal, TypeAlias

import yaml
from rich.console import Console

import medrobust.models
from medrobust.base.conf_folder import conf_folder, option_files
from medrobust.base.wording import counted
from medrobust.exceptions import ConfigurationError

from .parsing import subcommand_parser

State: TypeAlias = Literal["ok", "note", "wrong"]

HOSTS = ("huggingface.co", "zenodo.org")
"""Where weights and data are fetched from."""

DRIVERS = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd")
"""What Linux has where there is a GPU that torch may use, of NVIDIA, WSL or AMD."""

PACKAGED = Path(medrobust.models.__file__).parent / "weights"

DEMONSTRATION = (
    "phantomclip_tokenizer.json",
    "phantomclip_base.safetensors",
    "phantomclip_small.safetensors",
)
"""Files of the demonstration models."""

PATIENCE = 2.0
"""Seconds that a host is waited for."""

LITTLE, TOO_LITTLE = 20, 1
"""GB of free disk below which a note is made, and below which a run would fail."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at.

    Attributes:
        part: Such as "packages".
        state: "ok"; "note" for what some runs need; "wrong" for what every run needs.
        found: One sentence.
        advice: What to do, or empty.
    """

    part: str
    state: State
    found: str
    advice: str = ""


def main(arguments: Sequence[str]) -> int:
    """Print what was found: 0 if the demonstration can run here, 1 if something is wrong."""
    parser = subcommand_parser(
        "doctor", "Say what is here, what is missing and what to do.", "--json"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--store", type=Path, default=Path("outputs/store"), help="to be written")
    given = parser.parse_args(list(arguments))
    findings = examine(given.store)
    if given.json:
        sys.stdout.write(json.dumps([asdict(finding) for finding in findings], indent=1) + "\n")
    else:
        console = Console()
        for finding in findings:
            line = f"{finding.state:<6} {finding.part:<12} {finding.found}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)
            if finding.advice:
                advice = f"{'':<20}-> {finding.advice}"
                console.print(advice, markup=False, highlight=False, soft_wrap=True)
    return 1 if any(finding.state == "wrong" for finding in findings) else 0


def examine(store: Path) -> list[Finding]:
    """Look at everything, in the order in which a run needs it."""
    looks: tuple[Callable[[], Finding], ...] = (
        python,
        packages,
        locked,
        device,
        demonstration,
        weights,
        data,
        network,
        account,
        lambda: disk("store", store),
        lambda: disk("cache", _cache()),
    )
    return [look() for look in looks]


def python() -> Finding:
    """Compare the running Python with those that are supported."""
    here = platform.python_version()
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Finding("python", "ok", here)
    return Finding("python", "wrong", here, "use Python 3.11, 3.12 or 3.13 (make install)")


def packages() -> Finding:
    """Look for every package that medrobust requires, and compare versions with its bounds."""
    from packaging.requirements import Requirement

    missing, old, optional = [], [], set()
    for line in requires("medrobust") or ():
        wanted = Requirement(line)
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)", line)
        try:
            there = version(wanted.name)
        except PackageNotFoundError:
            if extra is None:
                missing.append(wanted.name)
            elif extra[1] not in ("dev", "docs", "parity"):
                optional.add(f"{wanted.name} ({extra[1]})")
            continue
        if extra is None and not wanted.specifier.contains(there, prereleases=True):
            old.append(f"{wanted.name} {there} ({wanted.specifier} is needed)")
    if missing or old:
        found = "; ".join(
            f"{what}: {', '.join(names)}"
            for what, names in (("missing", missing), ("unfit", old))
            if names
        )
        return Finding("packages", "wrong", found, "install medrobust again (make install)")
    if optional:
        return Finding(
            "packages",
            "note",
            f"all that is required is here; optional and missing: {', '.join(sorted(optional))}",
            "pip install 'medrobust[EXTRA]' with the extra in brackets, where you need it",
        )
    return Finding("packages", "ok", "all that is required is here")


def locked() -> Finding:
    """Compare installed versions with requirements.lock, in a checkout."""
    file = conf_folder().parent / "requirements.lock"
    if not file.is_file():
        return Finding("lock", "ok", "no requirements.lock beside an installed package")
    others = []
    for name, wanted in pins(file.read_text(encoding="utf-8")):
        try:
            there = version(name)
        except PackageNotFoundError:
            there = "missing"
        if there.partition("+")[0] != wanted:
            others.append(f"{name} {there} (locked {wanted})")
    if not others:
        return Finding("lock", "ok", "all versions are the locked ones")
    more = f" and {len(others) - 5} more" if len(others) > 5 else ""
    return Finding(
        "lock",
        "note",
        f"{counted(len(others), 'other version')}: {', '.join(others[:5])}{more}",
        "make install gives the locked ones; others may move the last digits",
    )


def pins(text: str) -> Iterator[tuple[str, str]]:
    r"""Yield name and version of the lines of a lock file.

    Example:
        >>> list(pins("# made by\nnumpy==2.0.0\ntorch==2.6.0 ; sys_platform == 'linux'"))
        [('numpy', '2.0.0'), ('torch', '2.6.0')]
    """
    for match in re.finditer(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE):
        yield match[1], match[2]


def device() -> Finding:
    """Name the device that runs take by default.

    Torch, whose import takes seconds, is asked only where a driver of GPUs is to be seen.
    """
    driver = any(Path(file).exists() for file in DRIVERS) or os.name == "nt"
    if driver:
        import torch

    if not driver or not torch.cuda.is_available():
        return Finding(
            "device",
            "note",
            f"no CUDA device: runs take the CPU ({counted(os.cpu_count() or 1, 'core')})",
            "enough for the demonstration; a whole matrix of a large model wants a GPU",
        )
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    free = torch.cuda.mem_get_info(0)[0] / 1e9
    return Finding("device", "ok", f"{', '.join(names)}; {free:.0f} GB free on the first")


def demonstration() -> Finding:
    """Look for the weights that come with the package."""
    missing = [name for name in DEMONSTRATION if not (PACKAGED / name).is_file()]
    if missing:
        found = f"{', '.join(missing)} should be in the package and is not"
        return Finding("demonstration", "wrong", found, "install medrobust again")
    return Finding("demonstration", "ok", "both models are in the package")


def weights() -> Finding:
    """Look into the hub's cache for each model of conf/model."""
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    wanted = dict(_hub_models())
    here = [
        name
        for name, hub_id in wanted.items()
        if any((cache / f"models--{hub_id.replace('/', '--')}" / "snapshots").glob("*/*"))
    ]
    what = f"of {counted(len(wanted), 'model')} in the hub's cache"
    return _fetched("weights", here, what, "without one pass model.local_dir=FOLDER")


def _fetched(part: str, here: Sequence[str], what: str, otherwise: str) -> Finding:
    """Say how much is here of what can be fetched, and what to do if it is nothing."""
    found = f"{len(here)} {what}"
    if here:
        return Finding(part, "ok", f"{found}: {', '.join(here)}")
    advice = f"`medrobust prefetch` fetches them where there is a network; {otherwise}"
    return Finding(part, "note", found, advice)


def _hub_models() -> Iterator[tuple[str, str]]:
    quick = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    for file in option_files(conf_folder(), "model"):
        content: dict[str, Any] = yaml.load(file.read_text(encoding="utf-8"), quick)
        hub_id = content.get("model", content).get("hub_id")
        if hub_id:
            yield file.stem, hub_id


def data() -> Finding:
    """Look for files of the published data sets where runs look for them."""
    from medrobust.datasets.published.facts import data_folder
    from medrobust.datasets.published.medimeta_facts import FACTS as MEDIMETA
    from medrobust.datasets.published.medmnist import MedMNIST
    from medrobust.datasets.published.medmnist_facts import FACTS as MEDMNIST

    here = [flag for flag in MEDMNIST if MedMNIST(flag=flag).file.is_file()]
    root = data_folder(None, "medimeta")
    here += [name for name in MEDIMETA if (root / f"{name}.zip").is_file() or _holds(root / name)]
    return _fetched(
        "data",
        here,
        f"of {len(MEDMNIST) + len(MEDIMETA)} published sets are here",
        "files that lie elsewhere are named by MEDROBUST_DATA or dataset.root=FOLDER",
    )


def _holds(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def network() -> Finding:
    """Ask whether the hosts of weights and data answer, unless the hub is switched off."""
    if os.environ.get("HF_HUB_OFFLINE", "0").lower() in ("1", "true", "yes", "on"):
        return Finding("network", "ok", "switched off for the hub (HF_HUB_OFFLINE)")
    silent = [host for host in HOSTS if not reached(host)]
    if not silent:
        return Finding("network", "ok", f"{' and '.join(HOSTS)} answer")
    return Finding(
        "network",
        "note",
        f"{' and '.join(silent)} cannot be reached",
        "cached weights and local files work without; HF_HUB_OFFLINE=1 keeps the hub from being "
        "asked, a proxy is set by HTTPS_PROXY",
    )


def reached(host: str) -> bool:
    """Say whether a host takes a connection on the port of HTTPS; nothing is sent."""
    try:
        socket.create_connection((host, 443), timeout=PATIENCE).close()
    except OSError:
        return False
    return True


def account() -> Finding:
    """Say how `logger=wandb` would run."""
    from medrobust.reporting.wandb_environment import account_mode, check_exported

    try:
        check_exported(os.environ)
    except ConfigurationError as error:
        return Finding("wandb", "wrong", str(error), "jobs without logger=wandb need none of it")
    mode = account_mode() or os.environ["WANDB_MODE"]
    if mode == "online":
        return Finding("wandb", "ok", "an account is configured: logger=wandb sends")
    return Finding(
        "wandb",
        "note",
        f"logger=wandb runs {mode}",
        "`wandb login` configures an account, a run says what sends it later; others need none",
    )


def _cache() -> Path:
    from medrobust.datasets.cache import cache_folder

    return cache_folder()


def disk(part: str, folder: Path) -> Finding:
    """Say how much is free where a folder is or would be, and whether it can be written."""
    place = next(
        parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists()
    )
    key = "store.dir" if part == "store" else "MEDROBUST_CACHE"
    if not place.is_dir() or not os.access(place, os.W_OK):
        return Finding(part, "wrong", f"{place} cannot be written", f"point {key} elsewhere")
    free = shutil.disk_usage(place).free / 1e9
    found = f"{free:.0f} GB free in {place}"
    if free < TOO_LITTLE:
        return Finding(part, "wrong", found, f"free the disk, or point {key} elsewhere")
    if free < LITTLE:
        return Finding(part, "note", found, "unpacked images of a large set take several GB")
    return Finding(part, "ok", found)
