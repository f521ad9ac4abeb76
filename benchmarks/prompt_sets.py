"""Ten prompt sets against one: seconds of the main job, on phantoms or on files of your own.

python benchmarks/prompt_sets.py                       # phantomclip, 600 phantoms
python benchmarks/prompt_sets.py model=biomedclip ...  # any further overrides
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

SETS = ("bare", "medical", "clip", "biomedclip", "paper", "phantoms", "ensemble", "cxr")
EXTRA = {"mine_a": "a scan of {}", "mine_b": "picture: {}"}
ROOT = Path(__file__).resolve().parents[1]


def seconds(overrides: list[str], sets: list[str]) -> float:
    """Run one sweep over prompt sets in a fresh process and store; return its wall time."""
    with tempfile.TemporaryDirectory() as scratch:
        mine = Path(scratch, "mine", "prompts")
        mine.mkdir(parents=True)
        for name, template in EXTRA.items():
            content = f"_target_: medrobust.models.PromptSet\nname: {name}\n"
            (mine / f"{name}.yaml").write_text(f"{content}templates: ['{template}']\n")
        command = [sys.executable, str(ROOT / "run.py"), "-cd", str(mine.parent), "-m"]
        command += [f"prompts={','.join(sets)}", "store.features=true", *overrides]
        started = time.perf_counter()
        subprocess.run(command, cwd=scratch, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    overrides = sys.argv[1:] or ["corruption=gaussian_noise", "severity=[1,3,5]"]
    names = [*SETS, *EXTRA]
    seconds(overrides, names[:1])  # draws the phantoms into the cache
    one, ten = seconds(overrides, names[:1]), seconds(overrides, names)
    print(f"one prompt set {one:.1f} s, ten {ten:.1f} s: {ten / one:.2f} times")


if __name__ == "__main__":
    main()
