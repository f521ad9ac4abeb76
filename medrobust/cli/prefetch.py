"""`medrobust prefetch FOLDER model=... dataset=...`: what a machine without network needs."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from medrobust.base.wording import agreeing, counted
from medrobust.exceptions import ConfigurationError, MedRobustError

from .parsing import add_overrides, as_typed, check_out_folder, subcommand_parser

ABOUT = """\
Bring data and weights for a machine without network into one folder, and check them.

Names are those of conf/model and conf/dataset; further overrides (dataset.size=28) hold for each.
FOLDER gets data/, hub/ (a cache of the Hugging Face hub), manifest.json with the SHA-256 of every
file, and env.sh, which a shell on the other machine sources: then everything runs from FOLDER and
the hub is never asked. Downloads are compared with the sums that the hub and Zenodo publish. Run
again after a failure: what is there is kept. `--check` compares a copy with its manifest."""

EXAMPLES = (
    "FOLDER model=biomedclip,clip_vit_b16 dataset=bloodmnist,octmnist",
    "FOLDER --check",
)


def main(arguments: Sequence[str]) -> int:
    """Fetch or check; 1 if something is missing or damaged."""
    parser = subcommand_parser("prefetch", ABOUT, *EXAMPLES)
    parser.add_argument("folder", type=Path, help="where everything goes, or was copied to")
    parser.add_argument("--check", action="store_true", help="compare with manifest.json, offline")
    add_overrides(parser, "model=...|dataset=...")
    given = parser.parse_intermixed_args(list(arguments))
    check_out_folder(given.folder, "the folder")
    folder = given.folder.expanduser().absolute()
    if given.check:
        return check(folder)
    if not any(text.startswith(("model=", "dataset=")) for text in given.overrides):
        raise ConfigurationError("nothing to fetch: name model=A,B or dataset=C,D or both.")
    (folder / "hub").mkdir(parents=True, exist_ok=True)
    (folder / "data").mkdir(exist_ok=True)
    os.environ["HF_HUB_CACHE"] = str(folder / "hub")  # before huggingface_hub is imported
    os.environ["MEDROBUST_DATA"] = str(folder / "data")
    return fetch_all(folder, as_typed(given))


def fetch_all(folder: Path, overrides: Sequence[str]) -> int:
    """Fetch each model and data set, and say what became of it; 1 if one of them failed."""
    from medrobust.jobs.prefetch import (
        ENVIRONMENT,
        fetched_data,
        fetched_model,
        known,
        record,
        write_manifest,
    )

    asked = failures = 0
    files = known(folder)
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
            what = "is not fetched by this command: bring its files yourself"
        print(f"{group} {name}: {what}")
        write_manifest(folder, files)
    (folder / "env.sh").write_text(ENVIRONMENT, encoding="utf-8")
    if failures:
        print(f"{asked - failures} of {asked} fetched: {folder.name} is not complete.")
        return 1
    print(f"On the other machine: source {folder.name}/env.sh (copy with links kept: rsync -a)")
    return 0


def parts(overrides: Sequence[str]) -> Iterator[tuple[str, str, Any]]:
    """Yield group, name and the object of everything that was named; a collection's members."""
    from medrobust.evaluation.building import built

    from .hydra_app import composed

    folders = [text for text in overrides if text.startswith("--")]
    for group in ("model", "dataset"):
        chosen = [text for text in overrides if text.startswith(f"{group}=")]
        further = [text for text in overrides if text.startswith(f"{group}.")]
        for name in ",".join(text.split("=", 1)[1] for text in chosen).split(","):
            if name:
                part = built(composed([*folders, f"{group}={name}", *further]), group)
                for member in getattr(part, "members", (part,)):
                    yield group, member.name, member


def check(folder: Path) -> int:
    """Compare every file with the manifest; 1 if one is missing or differs."""
    from medrobust.jobs.prefetch import MANIFEST, faults, known

    files = known(folder)
    if not (folder / MANIFEST).is_file():
        raise ConfigurationError(f"{folder / MANIFEST} not found: nothing was fetched to there.")
    wrong = list(faults(folder, files))
    for line in wrong:
        print(line)
    are = agreeing(len(files), "is")
    print(f"{len(files) - len(wrong)} of {counted(len(files), 'file')} {are} as fetched")
    return 1 if wrong else 0
