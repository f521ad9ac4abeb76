"""Write results.csv and machine.json of the golden run: `python tests/data/golden_run/make.py`.

Run it only when a change is meant to move numbers, and say in CHANGELOG.md by how much.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ARGUMENTS = (
    "model=phantomclip_small",
    "corruption=medimeta_c",
    "severity=1,5",
    "dataset.per_class=3",
    "trainer.accelerator=cpu",
)


def machine() -> dict[str, Any]:
    """Return what the last digits depend on: processor class, instructions, threads, versions."""
    import torch

    from medrobust.evaluation.environment import versions

    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": 1,
        "versions": {name: found for name, found in versions().items() if name != "medrobust"},
    }


def golden_run(folder: Path) -> bytes:
    """Run the command in a process of its own, with one thread: the bytes of results.csv."""
    root = HERE.parents[2]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(root),
        "MEDROBUST_CACHE": str(folder / "cache"),
    }
    command = [sys.executable, str(root / "run.py"), *ARGUMENTS, "hydra.run.dir=out"]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    return (folder / "out" / "results.csv").read_bytes()


def main() -> None:
    """Write both files beside this script."""
    with tempfile.TemporaryDirectory() as folder:
        (HERE / "results.csv").write_bytes(golden_run(Path(folder)))
    (HERE / "machine.json").write_text(json.dumps(machine(), indent=1) + "\n")


if __name__ == "__main__":
    main()
