"""What a record says of the machine: versions, device, commit. Never a path or a user."""

import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

PACKAGES = (
    "medrobust",
    "numba",
    "numpy",
    "open_clip_torch",
    "opencv-python-headless",
    "peft",
    "pillow",
    "pytorch-lightning",
    "safetensors",
    "timm",
    "torch",
    "torchvision",
    "transformers",
)


@cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of every package that can change a number."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def describe_device(device: torch.device | None = None) -> str:
    """Name a device, the CPU by default: "cuda: NAME" or "cpu: ARCHITECTURE"."""
    if device is not None and device.type == "cuda":
        return f"cuda: {torch.cuda.get_device_name(device)}"
    return f"cpu: {platform.machine()}, {torch.get_num_threads()} threads"


@cache
def commit() -> str | None:
    """Return the commit of the checkout that runs, with "+" if changed, or None outside one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "HEAD")
        return head + ("+" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
