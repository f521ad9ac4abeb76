"""Ten prompt sets against one: CPU seconds of the main job, on phantoms or on your own files.

python benchmarks/prompt_sets.py                       # phantomclip, 600 phantoms, 22 conditions
python benchmarks/prompt_sets.py model=biomedclip ...  # any further overrides
"""

import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

SETS = ("bare", "medical", "clip", "biomedclip", "paper", "phantoms", "ensemble", "cxr")
EXTRA = {"mine_a": "a scan of {}", "mine_b": "picture: {}"}
ROOT = Path(__file__).resolve().parents[1]


def seconds(overrides: list[str], sets: list[str]) -> float:
    """Run one job with these prompt sets in a fresh process and store; return its CPU time.

    The wall time of a shared machine says more about its neighbours.
    """
    with tempfile.TemporaryDirectory() as scratch:
        mine = Path(scratch, "mine", "prompts")
        mine.mkdir(parents=True)
        for name, template in EXTRA.items():
            content = f"_target_: medrobust.models.PromptSet\nname: {name}\n"
            (mine / f"{name}.yaml").write_text(f"{content}templates: ['{template}']\n")
        command = [sys.executable, str(ROOT / "run.py"), "-cd", str(mine.parent)]
        command += [f"prompts={','.join(sets)}", *overrides]
        before = _spent()
        subprocess.run(command, cwd=scratch, check=True, stdout=subprocess.DEVNULL)
        return _spent() - before


def _spent() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    overrides = list(arguments) or ["corruption=medimeta_c", "severity=[1,3,5]"]
    names = [*SETS, *EXTRA]
    seconds([*overrides, "corruption=clean"], names[:1])  # draws the phantoms into the cache
    one, ten = seconds(overrides, names[:1]), seconds(overrides, names)
    print(f"one prompt set {one:.1f} s, ten {ten:.1f} s: {ten / one:.2f} times")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
