"""Mutants: which changes are made, how they are drawn, and that the right tests see them."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.mutants import ROOT, dependents, relevant_tests, sample, sites
from benchmarks.mutation import mutants


def changed(source: str) -> set[str]:
    return {mutant.apply(source.encode()).decode() for mutant in mutants(source.encode())}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a < b", {"(a <= b)", "(a >= b)"}),
        ("a == b", {"(a != b)"}),
        ("a < b == c", {"(a <= b == c)", "(a >= b == c)", "(a < b != c)"}),
        ("c * (a + b)", {"(c / (a + b))", "c * ((a - b))"}),
        ("a and b", {"(a or b)"}),
        ("not a", {"(bool(a))"}),
        ("f(-a)", {"pass", "f((a))"}),
        ("a[1]", {"a[(2)]", "a[(0)]"}),
        ("a(x=0.5)", {"pass", "a(x=(1.5))", "a(x=(-0.5))"}),
        ("x = True", {"x = False"}),
        ("x[i] = y", {"pass"}),
        ("x += y", {"pass"}),
        ("def f(a=True):\n    return a", {"def f(a=False):\n    return a",
                                          "def f(a=True):\n    return None"}),
        ("for a in b:\n    continue", {"for a in b:\n    break"}),
        ("if a:\n    raise E", {"if (not a):\n    raise E", "if a:\n    pass"}),
        ("é = 'ä' if a < b else c", {"é = 'ä' if (a <= b) else c", "é = 'ä' if (a >= b) else c"}),
    ],
)  # fmt: skip
def test_every_small_change_is_made_where_it_stands(source: str, expected: set[str]) -> None:
    assert changed(source) - {"pass"} == expected - {"pass"}
    assert expected <= changed(source)


@pytest.mark.parametrize(
    "source",
    [
        '"""Text, 1 + 1."""',
        "def f(a: Literal[1]) -> Literal[2]: ...",
        "@dataclass(frozen=True)\nclass A:\n    x: int",
        "assert a < 3",
        "x = f'{a + 1}'",
        "__all__ = ['a']",
        f"TABLE = {tuple(range(40))}",
        "x = 'text'",
        "def f():\n    return None",
        "from a import b",
    ],
)
def test_what_decides_nothing_is_left_alone(source: str) -> None:
    assert changed(source) == set()


def test_every_mutant_of_the_project_is_another_program() -> None:
    found = sites()
    assert sum(map(len, found.values())) > 8000
    file = "medrobust/metrics/scores.py"
    source = (ROOT / file).read_bytes()
    programs = [ast.dump(ast.parse(mutant.apply(source))) for mutant in found[file]]
    assert ast.dump(ast.parse(source)) not in programs
    assert len(set(programs)) == len(programs)


def test_a_sample_is_that_of_its_seed_and_every_file_has_its_share() -> None:
    one = mutants(b"a < b\n" * 10)
    found = {"long": one * 9, "short": one, "none": []}
    drawn = sample(found, 50, 3)
    assert drawn == sample(found, 50, 3)
    assert drawn != sample(found, 50, 4)
    assert len(drawn) == 50
    assert sum(file == "short" for file, _ in drawn) == 5


def test_tests_of_a_module_begin_with_its_own() -> None:
    tests = relevant_tests("medrobust/corruptions/noise_numba.py")
    assert tests[:2] == ["medrobust/corruptions/noise_numba.py", "tests/corruptions/test_noise.py"]
    assert all((ROOT / test).exists() for file in sites() for test in relevant_tests(file))


def test_kernels_that_take_in_a_changed_file_are_compiled_anew() -> None:
    found = dependents(ROOT, Path("medrobust/corruptions/philox_numba.py"))
    assert {"philox_numba", "noise_numba", "weather_numba"} <= found
    assert "jpeg_numba" not in found


def test_a_change_of_equal_size_is_seen_by_the_tests_and_the_copy_stays_as_it_is(
    tmp_path: Path,
) -> None:
    program = """
import sys
from pathlib import Path
from benchmarks.mutants import copy_project, sites, trial

folder, file = Path(sys.argv[1]), "medrobust/metrics/scores.py"
copy_project(folder / "copy")
source = (folder / "copy" / file).read_bytes()
wrong = next(m for m in sites()[file] if m.before == "1" and m.after == "(0)")
short = type(wrong)(wrong.line, wrong.kind, "1", "0", wrong.start, wrong.stop)
assert len(short.apply(source)) == len(source)
print(*trial(folder / "copy", folder / "tree", file, short))
assert (folder / "copy" / file).read_bytes() == source
assert not (folder / "tree").exists()
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("killed tests/metrics/")
