"""Bring data and weights for a machine without network into one folder, and check them.

    python scripts/prefetch.py FOLDER model=biomedclip,clip_vit_b16 dataset=bloodmnist,octmnist
    python scripts/prefetch.py FOLDER --check

Names are those of conf/model and conf/dataset; further overrides (dataset.size=28) hold for each.
FOLDER gets data/, hub/ (a cache of the Hugging Face hub), manifest.json with the SHA-256 of every
file, and env.sh, which a shell on the other machine sources: then everything runs from FOLDER and
the hub is never asked. Downloads are compared with the sums that the hub and Zenodo publish. Run
again after a failure: what is there is kept. `--check` compares a copy with its manifest.
"""

import argparse
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medrobust.base.fingerprints import file_fingerprint
from medrobust.base.whole_files import write_whole
from medrobust.base.wording import agreeing, counted
from medrobust.cli.entry import leave
from medrobust.cli.hydra_app import composed
from medrobust.exceptions import ConfigurationError, InvalidDataError, MedRobustError

ENVIRONMENT = """\
# source this file: data and weights come from this folder, and nothing asks the network
prefetched="$(cd "$(dirname "${BASH_SOURCE[0]:-$0}")" && pwd)"
export MEDROBUST_DATA="$prefetched/data"
export HF_HUB_CACHE="$prefetched/hub"
export HF_HUB_OFFLINE=1
unset prefetched
"""
MANIFEST = "manifest.json"


def main(arguments: list[str] | None = None) -> int:
    """Fetch or check; 1 if something is missing or damaged."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--check", action="store_true", help="compare with manifest.json, offline")
    parser.add_argument("overrides", nargs="*", metavar="model=...|dataset=...")
    given = parser.parse_intermixed_args(arguments)
    folder = given.folder.expanduser().absolute()
    if given.check:
        return check(folder)
    if not any(text.startswith(("model=", "dataset=")) for text in given.overrides):
        raise ConfigurationError("nothing to fetch: name model=A,B or dataset=C,D or both.")
    (folder / "hub").mkdir(parents=True, exist_ok=True)
    (folder / "data").mkdir(exist_ok=True)
    os.environ["HF_HUB_CACHE"] = str(folder / "hub")  # before huggingface_hub is imported
    os.environ["MEDROBUST_DATA"] = str(folder / "data")
    asked, failures = fetch_all(folder, given.overrides)
    (folder / "env.sh").write_text(ENVIRONMENT, encoding="utf-8")
    if failures:
        print(f"{asked - failures} of {asked} fetched: {folder.name} is not complete.")
        return 1
    print(f"On the other machine: source {folder.name}/env.sh (copy with links kept: rsync -a)")
    return 0


def fetch_all(folder: Path, overrides: list[str]) -> tuple[int, int]:
    """Fetch each model and data set, say what became of it; how many there were, and failed."""
    asked = failures = 0
    files: dict[str, Any] = known(folder)
    for group, name, part in parts(overrides):
        asked += 1
        try:
            found = fetched_model(part) if group == "model" else fetched_data(part)
            entries = {
                file.relative_to(folder).as_posix(): record(file, name) for file in found or ()
            }
        except MedRobustError as error:
            failures += 1
            print(f"{group} {name}: {error}")
            continue
        files |= entries
        total = sum(entry["bytes"] for entry in entries.values())
        size = f"{counted(len(entries), 'file')}, {total / 1e6:.1f} MB, checked"
        what = size if found else "needs no files"
        if found is None:
            what = "is not fetched by this script: bring its files yourself"
        print(f"{group} {name}: {what}")
        write_manifest(folder, files)
    return asked, failures


def parts(overrides: list[str]) -> Iterator[tuple[str, str, Any]]:
    """Yield group, name and the object of everything that was named; a collection's members."""
    from medrobust.evaluation.plan import built

    for group in ("model", "dataset"):
        chosen = [text for text in overrides if text.startswith(f"{group}=")]
        further = [text for text in overrides if text.startswith(f"{group}.")]
        for name in ",".join(text.split("=", 1)[1] for text in chosen).split(","):
            if name:
                part = built(composed([f"{group}={name}", *further]), group)
                for member in getattr(part, "members", (part,)):
                    yield group, member.name, member


def fetched_model(model: Any) -> list[Path] | tuple[()]:
    """Fetch the files of a model and compare them with the sums under which the hub keeps them."""
    if not hasattr(model, "hub_id") or model.local_dir is not None:
        return ()
    files = list(model.files().values())
    for file in files:
        check_hub_file(file)
    return files


def fetched_data(source: Any) -> list[Path] | tuple[()] | None:
    """Fetch a data set with its published sum; none for generated ones, None where it cannot."""
    from dataclasses import replace

    if hasattr(source, "fetch"):
        return list(replace(source, download=True).fetch())
    return () if type(source).__name__ == "Phantoms" else None


def check_hub_file(file: Path) -> None:
    """Compare a file of the hub's cache with its name there: SHA-256, or git's SHA-1 of small ones.

    Raises:
        InvalidDataError: If it is damaged.
    """
    blob = file.resolve()
    if len(blob.name) == 64:
        sound = file_fingerprint(file) == blob.name
    elif len(blob.name) == 40:
        content = blob.read_bytes()
        header = b"blob %d\0" % len(content)
        sound = hashlib.sha1(header + content, usedforsecurity=False).hexdigest() == blob.name
    else:  # a cache without links (Windows) keeps no sums
        return
    if not sound:
        raise InvalidDataError(
            f"{file.name} is damaged: its sum is not the hub's. Delete {blob} and run again."
        )


def record(file: Path, name: str) -> dict[str, Any]:
    """Describe a file for the manifest."""
    return {"of": name, "bytes": file.stat().st_size, "sha256": file_fingerprint(file)}


def known(folder: Path) -> dict[str, Any]:
    """Read the manifest, empty where there is none yet."""
    file = folder / MANIFEST
    if not file.exists():
        return {}
    try:
        files: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["files"]
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidDataError(f"{file} is damaged. Delete it and fetch again.") from error
    return files


def write_manifest(folder: Path, files: dict[str, Any]) -> None:
    """Write the manifest, whole or not at all."""
    content = json.dumps({"format": 1, "files": files}, indent=1)
    write_whole(folder / MANIFEST, f"{content}\n".encode())


def check(folder: Path) -> int:
    """Compare every file with the manifest; 1 if one is missing or differs."""
    files = known(folder)
    if not files:
        raise ConfigurationError(f"{folder / MANIFEST} not found: nothing was fetched to there.")
    wrong = 0
    for name, entry in files.items():
        file = folder / name
        if not file.is_file():
            print(f"missing  {name} ({entry['of']})")
        elif file_fingerprint(file) != entry["sha256"]:
            print(f"damaged  {name} ({entry['of']})")
        else:
            continue
        wrong += 1
    are = agreeing(len(files), "is")
    print(f"{len(files) - wrong} of {counted(len(files), 'file')} {are} as fetched")
    return 1 if wrong else 0


if __name__ == "__main__":
    leave(main)
