"""Suites and the objects that configuration builds from them."""

import inspect
import re
import subprocess
import sys

import pytest
import torch

from medrobust.corruptions import Corruption, Suite, corrupt, suites
from medrobust.corruptions.kernels import KERNELS, kernel_function
from medrobust.corruptions.suites import REGISTRIES, Entry, find_entry, load_suite, suite_name
from medrobust.exceptions import ConfigurationError, UnknownNameError

SEVEN = [
    "gaussian_noise",
    "impulse_noise",
    "motion_blur",
    "zoom_blur",
    "brightness",
    "contrast",
    "pixelate",
]


def test_medimeta_c_is_its_seven_corruptions():
    assert suites("medimeta_c") == SEVEN
    assert {"imagenet_c", "medimeta_c"} <= set(suites())


def test_imagenet_c_is_its_nineteen_corruptions_in_order():
    names = suites("imagenet_c")
    assert (names[0], names[7], names[14], names[18]) == (
        "gaussian_noise", "snow", "jpeg_compression", "saturate",
    )  # fmt: skip
    assert len(names) == 19
    assert suites("imagenet_c_original") == names


@pytest.mark.parametrize("suite", ["imagenet_c_64", "imagenet_c_32"])
def test_the_tables_for_small_images_keep_names_and_order(suite):
    missing = {"elastic_transform", "spatter"}
    assert suites(suite) == [name for name in suites("imagenet_c") if name not in missing]


def test_the_original_differs_in_three_corruptions():
    same = [
        Corruption(name, "imagenet_c").identity(2)
        == Corruption(name, "imagenet_c_original").identity(2)
        for name in suites("imagenet_c")
    ]
    assert same.count(False) == 3


def test_levels_of_other_benchmarks_are_as_published():
    def table(suite, name):
        return find_entry(suite, name).table

    assert table("roodmri", "anisotropy")["factor"] == [2.8, 4.6, 6.4, 8.2, 10]
    assert table("roodmri", "mr_motion")["moves"] == [2, 4, 6, 8, 10]
    assert [224 * s for s in table("roodmri", "affine")["shift"]] == pytest.approx(
        [8, 16, 24, 32, 40], abs=0.01
    )
    assert table("medfm_robust", "salt_and_pepper")["amount"] == [0.001, 0.003, 0.005, 0.01, 0.02]
    assert [224 * s for s in table("medfm_robust", "translation")["shift"]] == pytest.approx(
        [5, 10, 15, 20, 25], abs=0.01
    )
    assert [224 * s for s in table("roodmri", "elastic")["displacement"]] == pytest.approx(
        [6, 12, 18, 24, 30], abs=0.01
    )
    assert table("histopathology_c", "bubble_blur")["ratio"] == [0.1, 0.3, 0.5, 0.7, 0.9]
    assert table("medfm_robust_mri", "bias_field")["strength"] == [0.3, 0.5, 0.7, 0.85, 0.95]
    assert table("histopathology_c", "brightness")["shift"] == [0.05, 0.1, 0.15, 0.2, 0.25]
    for name in ("jpeg_compression", "defocus_blur"):  # the same tables
        assert table("histopathology_c", name) == table("imagenet_c", name)


def test_the_registries_are_those_of_medmnist_c():
    assert {flag: len(suites(flag)) for flag in REGISTRIES} == {
        "pathmnist": 11, "bloodmnist": 11, "dermamnist": 15, "retinamnist": 8, "tissuemnist": 8,
        "octmnist": 6, "breastmnist": 7, "chestmnist": 13, "pneumoniamnist": 13,
        "organamnist": 13, "organcmnist": 13, "organsmnist": 13,
    }  # fmt: skip
    assert suites("octmnist") == [
        "pixelate", "jpeg_compression", "speckle_noise", "defocus_blur", "motion_blur",
        "contrast_down",
    ]  # fmt: skip
    assert len({name for flag in REGISTRIES for name in suites(flag)}) == 21


def test_every_parameter_is_one_of_its_kernel():
    for suite in suites():
        for name in suites(suite):
            entry = find_entry(suite, name)
            arguments = inspect.signature(kernel_function(entry.kernel)).parameters
            draws = set(KERNELS[entry.kernel].draws)
            needed = {n for n, p in arguments.items() if p.default is p.empty}
            assert needed <= {"images", *entry.table, *draws} <= set(arguments), (suite, name)


def test_published_entries_after_the_fifth_serve_training_only():
    assert find_entry("retinamnist", "defocus_blur").beyond == {"radius": 9, "alias": 0.6}
    for flag in ("chestmnist", "pneumoniamnist"):
        assert find_entry(flag, "gaussian_blur").beyond == {"taps": 13}
        assert find_entry(flag, "gaussian_blur").parameters(5) == {"taps": 11}


def test_all_is_imagenet_c_and_then_the_registry():
    blocks = [column.suite for column in Suite("all").expand("octmnist")]
    assert blocks == ["imagenet_c"] * len(suites("imagenet_c")) + ["octmnist"] * 6
    assert {column.suite for column in Suite("all").expand(None)} == {"imagenet_c"}


def test_a_registry_can_be_the_second_block_of_any_suite():
    both = Suite("medimeta_c", registry=True)
    columns = [(column.suite, column.name) for column in both.expand("octmnist")]
    second = [("octmnist", name) for name in suites("octmnist")]
    assert columns == [*(("medimeta_c", name) for name in SEVEN), *second]
    assert [column.name for column in both.expand(None)] == SEVEN


def test_the_registry_of_the_data_set_is_taken_and_others_are_refused_what_they_lack():
    assert [c.name for c in Suite("medmnist_c").expand("octmnist")] == suites("octmnist")
    assert Corruption("bubble", None).expand("bloodmnist")[0].suite == "bloodmnist"
    with pytest.raises(UnknownNameError, match=r"not in suite 'octmnist'.*bloodmnist, pathmnist"):
        Corruption("bubble", None).expand("octmnist")
    with pytest.raises(ConfigurationError, match=r"has none.*pathmnist, bloodmnist"):
        Corruption("bubble", None).expand(None)


def test_a_corruption_expands_to_itself():
    assert Corruption("contrast").expand(None) == (Corruption("contrast", "imagenet_c"),)


def test_a_suite_expands_to_its_columns_in_order():
    columns = Suite("medimeta_c", grey="rgb").expand("bloodmnist")
    assert [c.name for c in columns] == SEVEN
    assert {(c.suite, c.grey) for c in columns} == {("medimeta_c", "rgb")}
    assert Suite("clean").expand("bloodmnist") == ()


def test_equal_parameters_have_one_identity_under_any_suite():
    first, second = Corruption("contrast", "imagenet_c"), Corruption("contrast", "medimeta_c")
    assert first.identity(2) == second.identity(2)
    assert first.identity(2) != first.identity(3)
    assert first.identity(2) != Corruption("contrast", "imagenet_c", grey="rgb").identity(2)


def test_only_kernels_that_draw_are_random():
    assert Corruption("gaussian_noise").random(1)
    assert not Corruption("contrast").random(1)
    assert not Corruption("gaussian_noise").random(0)


def test_calling_a_corruption_is_calling_corrupt():
    images = torch.arange(2 * 3 * 32 * 32).reshape(2, 3, 32, 32).to(torch.uint8)
    rows = torch.tensor([4, 9])
    called = Corruption("impulse_noise")(images, severity=2, seed=3, stream="s", index=rows)
    direct = corrupt(images, "impulse_noise", severity=2, seed=3, stream="s", index=rows)
    assert torch.equal(called, direct)


def test_the_registry_is_refused_where_there_is_none():
    with pytest.raises(ConfigurationError, match="registry of a MedMNIST data set"):
        Suite("medmnist_c").expand(None)


def test_a_suite_of_ones_own_is_read_from_its_path(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "corruptions:\n  faint: {kernel: contrast, factor: [0.9, 0.8, 0.7, 0.6, 0.5]}\n"
    )
    assert suites(str(path)) == ["faint"]
    images = torch.arange(32 * 32).reshape(1, 1, 32, 32).to(torch.uint8)
    assert corrupt(images, "faint", severity=5, suite=str(path)).float().std() > 0


@pytest.mark.parametrize(
    ("file", "stem"),
    [
        ("mine.yaml", "mine"),
        ("mine.yml", "mine"),
        (r"C:\ward\mine.yaml", "mine"),
        ("mine.v2.yaml", "mine.v2"),
        ("my own@2.5+x.yaml", "my-own-2.5-x"),
        ("../.größe/.hidden.yaml", "hidden"),
        ("größe.yaml", "gr-e"),
        ("噪.yaml", "suite"),
        (f"{'a' * 90}.yaml", "a" * 32),
        ("imagenet_c.yaml", "imagenet_c"),
    ],
)
def test_a_suite_of_ones_own_has_a_plain_name(file, stem):
    entries = {"dim": Entry("dim", "contrast", 1, {"factor": 0.5})}
    name = suite_name(file, entries)
    assert re.fullmatch(rf"{re.escape(stem)}-[0-9a-f]{{8}}", name)
    assert name not in suites()


def test_the_name_of_a_suite_file_in_tables_is_no_place_to_read_it_from():
    with pytest.raises(UnknownNameError, match="'mine-1a2b3c4d' is what tables call a suite file"):
        suites("mine-1a2b3c4d")


def test_what_decides_pixels_decides_the_name(tmp_path):
    def name(text):
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return suite_name(str(path), load_suite(str(path)))

    entry = "  {}: {{kernel: contrast, factor: [0.9, 0.8, 0.7, 0.6, {}]{}}}\n"
    a, b = entry.format("a", 0.5, ""), entry.format("b", 0.5, "")
    whole = name(f"corruptions:\n{a}{b}")
    assert name(f"# said of it\ncorruptions:\n{b}\n{a}") == whole
    assert name(f"corruptions:\n{a}{entry.format('b', 0.5, ', version: 1')}") == whole
    assert name(f"corruptions:\n{a}{entry.format('b', 0.5, ', beyond: {factor: 0.1}')}") == whole
    others = [
        name(f"corruptions:\n{text}")
        for text in (
            a,
            a + entry.format("c", 0.5, ""),
            a + entry.format("b", 0.4, ""),
            a + entry.format("b", 0.5, ", version: 2"),
            a + b.replace("contrast", "contrast_factor"),
        )
    ]
    assert len({whole, *others}) == 6


def test_pictures_of_ones_own_decide_the_name_by_their_content(tmp_path):
    (tmp_path / "ink").mkdir()
    (tmp_path / "ink" / "a.png").write_bytes(b"one")
    table = {"masks": str(tmp_path / "ink")}
    dirt = {"dirt": Entry("dirt", "stain_deposit", 1, table)}
    first = suite_name("mine.yaml", dirt)
    (tmp_path / "ink").rename(tmp_path / "moved")
    moved = Entry("dirt", "stain_deposit", 1, {"masks": str(tmp_path / "moved")})
    assert suite_name("mine.yaml", {"dirt": moved}) == first
    (tmp_path / "moved" / "a.png").write_bytes(b"another")
    assert suite_name("mine.yaml", {"dirt": moved}) != first
    with pytest.raises(ConfigurationError, match="does not exist"):
        suite_name("mine.yaml", dirt)


def test_pictures_of_ones_own_are_identified_by_their_content(tmp_path):
    (tmp_path / "ink").mkdir()
    (tmp_path / "ink" / "a.png").write_bytes(b"one")
    path = tmp_path / "mine.yaml"
    path.write_text(
        "corruptions:\n  dirt: {kernel: stain_deposit, most: 2, size: 24, masks: "
        f"{(tmp_path / 'ink').as_posix()}}}\n"
    )
    dirt = Corruption("dirt", str(path))
    first = dirt.identity(1)
    assert str(tmp_path) not in str(first)
    (tmp_path / "ink" / "a.png").write_bytes(b"another")
    assert dirt.identity(1) != first
    path.rename(tmp_path / "ours.yaml")
    path.with_name("ours.yaml").write_text(
        path.with_name("ours.yaml").read_text().replace("/ink", "/no")
    )
    with pytest.raises(ConfigurationError, match="does not exist"):
        Corruption("dirt", str(path.with_name("ours.yaml"))).identity(1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("corruptions:\n  faint: {kernel: contrast, factor: [0.9, 0.8]}\n", "has 2 values"),
        ("corruptions:\n  faint: {kernel: contrasts, factor: 0.9}\n", "Did you mean 'contrast'"),
        ("faint: 3\n", "must be a mapping"),
        ("corruptions:\n  f: {kernel: contrast, factor: 0.9, beyond: {std: 1}}\n", "'beyond'"),
        ("take:\n  imagenet_c: [contras]\n", "Did you mean 'contrast'"),
        ("take:\n  imagenet_c: contrast\n", "list of names"),
        ("take: [imagenet_c]\n", "must be a mapping"),
        ("", "must be a mapping"),
        ("corruptions:\n", "must be a mapping"),
        ("corruptions: {}\n", "name a corruption"),
        ("corruptions:\n  f: {kernel: contrast, factor: [0.9\n", "is no YAML: while parsing"),
        ("corruptions:\n  no: {kernel: contrast, factor: 0.9}\n", "corruption False: write a name"),
        ("corruptions:\n  clean: {kernel: contrast, factor: 0.9}\n", "not clean"),
        ("corruptions:\n  faint: 3\n", "a mapping of its parameters"),
        ("corruptions:\n  f: {kernel: contrast, factor: .nan}\n", "'factor' is nan"),
        ("corruptions:\n  f: {kernel: contrast, factor: 2020-01-01}\n", "finite numbers"),
    ],
)
def test_a_damaged_suite_is_refused(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises((ConfigurationError, UnknownNameError), match=message):
        suites(str(path))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("{kernel: contrast, factr: 0.9}", "has no parameter 'factr'. It takes: factor"),
        ("{kernel: gaussian_noise}", "needs 'std'"),
    ],
)
def test_parameters_that_the_kernel_does_not_take_are_refused(tmp_path, table, message):
    path = tmp_path / "mine.yaml"
    path.write_text(f"corruptions:\n  faint: {table}\n")
    with pytest.raises(ConfigurationError, match=message):
        corrupt(torch.zeros(1, 1, 32, 32, dtype=torch.uint8), "faint", severity=1, suite=str(path))


@pytest.mark.parametrize("suite", suites())
def test_every_entry_of_every_suite_fits_its_kernel(suite):
    from medrobust.corruptions.shell import check_parameters
    from medrobust.corruptions.suites import find_entry

    for name in suites(suite):
        entry = find_entry(suite, name)
        for severity in (1, 5):
            check_parameters(suite, entry, entry.parameters(severity))


def test_configuration_needs_no_torch():
    code = (
        "import sys; from medrobust.corruptions import Suite; "
        "Suite('all').expand(None)[0].identity(1); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
