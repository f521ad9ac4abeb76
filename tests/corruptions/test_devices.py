"""What holds for the artifacts of every device: of batches, channels, and severities."""

import pytest
import torch

from medrobust.corruptions import corrupt, suites
from medrobust.corruptions.kernels import KERNELS
from medrobust.corruptions.shell import run_kernel
from medrobust.corruptions.suites import find_entry

DEVICES = (
    *("ct_physics", "fundus_physics", "endoscopy_physics", "dermatoscopy_physics", "overlays"),
    "histopathology_physics",
)
NAMES = [(suite, name) for suite in DEVICES for name in suites(suite)]
ROWS = torch.tensor([3, 2**40 + 7, 11])


def slices(count: int = 3, side: tuple[int, int] = (64, 52)) -> torch.Tensor:
    """A body with organs on black, other ones in every picture."""
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, s) for s in side), indexing="ij")
    turn = torch.arange(count)[:, None, None]
    body = 120 * (x**2 / 0.8 + y**2 / 0.6 < 1)
    organ = 60 * ((x - 0.3 * turn.cos()) ** 2 + (y - 0.3 * turn.sin()) ** 2 < 0.05)
    ripple = 12 * torch.sin(9 * x + 5 * y + turn) * (body > 0)
    return (body + organ + ripple).clamp(0, 255).to(torch.uint8)[:, None]


def run(images: torch.Tensor, suite: str, name: str, severity: int = 4, rows=ROWS) -> torch.Tensor:
    return corrupt(images, name, severity=severity, suite=suite, index=rows[: len(images)])


@pytest.mark.parametrize(("suite", "name"), NAMES)
def test_a_picture_does_not_depend_on_its_batch(suite: str, name: str) -> None:
    images = slices().expand(-1, 3, -1, -1).contiguous()
    whole = run(images, suite, name)
    for row in range(3):
        one = slice(row, row + 1)
        assert torch.equal(run(images[one], suite, name, rows=ROWS[one])[0], whole[row])


@pytest.mark.parametrize(("suite", "name"), NAMES)
def test_grey_pictures_have_the_form_of_grey_pictures(suite: str, name: str) -> None:
    grey = slices()
    one = run(grey, suite, name)
    assert one.shape == grey.shape
    if KERNELS[find_entry(suite, name).kernel].channelwise:
        three = run(grey.expand(-1, 3, -1, -1), suite, name)
        assert torch.equal(three, one.expand(-1, 3, -1, -1))


@pytest.mark.parametrize(("suite", "name"), NAMES)
def test_a_harsher_severity_changes_more_with_equal_draws(suite: str, name: str) -> None:
    images = slices(4).expand(-1, 3, -1, -1).contiguous()
    entry, given = find_entry(suite, name), {"key": (1, 2), "rows": torch.arange(4)}
    change = [
        float(
            (run_kernel(images, entry.kernel, entry.parameters(s), **given).double() - images)
            .abs()
            .mean()
        )
        for s in (1, 2, 3, 4, 5)
    ]
    assert change == sorted(change)
    assert change[0] > 0.1
