"""What a file is that was given for weights, told by its first bytes and never by its name."""

import struct
import zipfile
from pathlib import Path

LEGACY = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")
"""How every file begins that torch.save wrote before PyTorch 1.6: a pickled number."""

POINTER = b"version https://git-lfs.github.com/spec/"
"""How a pointer begins that Git leaves in place of a large file."""

BROKEN = (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, ValueError, struct.error)
"""What `zipfile` raises of an archive whose list of contents is damaged."""

PICKLED = (b"\x80", b"(", b"c", b"}", b"]")
"""First bytes of a pickle, the last four of its oldest protocols."""


def not_weights(path: Path) -> str | None:
    """Say in one sentence why a file that is not named `.safetensors` holds no readable weights.

    Args:
        path: The file.

    Returns:
        None for an archive or a file of torch.save, whatever is in it.
    """
    with path.open("rb") as file:
        start = file.read(1024)
    name = path.name
    if not start:
        return f"{name} is damaged: it is empty. Fetch it again."
    if start.startswith(POINTER):
        return f"{name} is a pointer of Git LFS and not the weights: run `git lfs pull`."
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size:
        return f"{name} is a safetensors file: rename it to {path.stem}.safetensors."
    if start.startswith(b"\x1f\x8b"):
        return f"{name} is compressed by gzip: unpack it with gunzip."
    if start.startswith(b"\x89HDF"):
        return f"{name} is HDF5, as Keras writes it, and no checkpoint of PyTorch."
    if zipfile.is_zipfile(path):
        return _not_torch(path)
    if start.startswith(LEGACY):
        return None
    if start[:1] in PICKLED:
        return (
            f"{name} is a plain pickle that torch.save did not write: opening it could run code, "
            f"so it is refused. Where it was made, save the tensors alone by "
            f"torch.save(model.state_dict(), FILE)."
        )
    if start.lstrip()[:1] in (b"<", b"{") or start.isascii():
        return f"{name} is damaged: it holds a text, a web page perhaps. Fetch it again."
    return None


def _not_torch(path: Path) -> str | None:
    """Tell an archive of torch.save (FOLDER/data.pkl) from others."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except BROKEN as error:
        return f"{path.name} is damaged: its list of contents cannot be read ({error})."
    if any(name.endswith("/data.pkl") for name in names):
        return None
    inside = ", ".join(names[:3]) or "nothing"
    return f"{path.name} is an archive of other files ({inside}). Unpack it, and name the weights."
