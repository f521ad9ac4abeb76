"""Measures of image quality against other libraries, closed forms and formulas written out."""

import cv2
import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d
from scipy.signal import convolve2d
from skimage.filters import threshold_otsu
from skimage.measure import shannon_entropy
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import visual_information_fidelity

from medrobust.exceptions import ConfigurationError, InvalidImageError, UnknownNameError
from medrobust.quality import MEASURES, ImageQuality, alone, fidelity, gradients, measure, structure
from medrobust.quality.alone import haar_sigma, thresholds
from medrobust.quality.compiled_alone import smooth_difference_sums
from medrobust.quality.measures import OF_A_SITE
from medrobust.quality.measuring import COMPUTE
from medrobust.quality.weights import FILES

LUMA = np.array([0.299, 0.587, 0.114])
SIZE = 192
WITHOUT_SITE = [name for name in MEASURES if name not in OF_A_SITE | set(FILES)]
"""niqe and what needs files have their own tests."""
FULL = [name for name in WITHOUT_SITE if MEASURES[name].full_reference]


def pair(channels: int = 3, size: int = SIZE, sigma: float = 12.0) -> tuple[np.ndarray, np.ndarray]:
    """Smooth random pictures and noisy copies, uint8 (2, C, H, W)."""
    rng = np.random.default_rng(5)
    raw = rng.normal(size=(2 * channels, size, size)).astype(np.float32)
    smooth = np.stack([cv2.GaussianBlur(plane, (0, 0), 5) for plane in raw])
    scaled = 255 * (smooth - smooth.min()) / (smooth.max() - smooth.min())
    clean = scaled.reshape(2, channels, size, size)
    noisy = clean + rng.normal(size=clean.shape) * sigma
    return clean.astype(np.uint8), noisy.clip(0, 255).astype(np.uint8)


def found(name: str, noisy: np.ndarray, clean: np.ndarray | None = None) -> np.ndarray:
    against = None if clean is None else torch.from_numpy(clean)
    return measure(torch.from_numpy(noisy), [name], clean=against)[name].numpy()


def grey(image: np.ndarray) -> np.ndarray:
    """Luma of (C, H, W), float64."""
    return image[0].astype(float) if len(image) == 1 else np.tensordot(LUMA, image, 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_is_that_of_scikit_image(channels: int) -> None:
    clean, noisy = pair(channels)
    wanted = [
        structural_similarity(
            grey(a), grey(b), data_range=255, gaussian_weights=True, sigma=1.5,
            use_sample_covariance=False,
        )
        for a, b in zip(clean, noisy, strict=True)
    ]  # fmt: skip
    assert found("ssim", noisy, clean) == pytest.approx(wanted, abs=2e-6)


def test_ssim_of_constants_is_the_closed_form() -> None:
    a = np.full((1, 1, 32, 32), 100, np.uint8)
    assert found("ssim", a + 20, a) == pytest.approx(0.9836109250, abs=1e-6)


def test_psnr_is_that_of_scikit_image_and_of_closed_forms() -> None:
    clean, noisy = pair()
    wanted = [peak_signal_noise_ratio(a, b) for a, b in zip(clean, noisy, strict=True)]
    assert found("psnr", noisy, clean) == pytest.approx(wanted, abs=1e-9)
    flat = np.full((1, 3, 256, 256), 128, np.uint8)
    assert found("psnr", flat + 20, flat) == pytest.approx(22.1102, abs=1e-4)
    drawn = np.random.default_rng(0).normal(size=flat.shape) * 10
    assert found("psnr", np.rint(flat + drawn).astype(np.uint8), flat) == pytest.approx(
        28.1308, abs=0.05
    )


def test_ms_ssim_is_its_formula_written_out() -> None:
    clean, noisy = pair(1)

    def window(plane: np.ndarray) -> np.ndarray:
        taps = np.exp(-(np.arange(-5, 6) ** 2) / 4.5)
        taps /= taps.sum()
        return correlate1d(correlate1d(plane, taps, axis=0), taps, axis=1)[5:-5, 5:-5]

    wanted = []
    for x, y in zip(clean[:, 0].astype(float), noisy[:, 0].astype(float), strict=True):
        value = 1.0
        for scale, exponent in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
            mx, my = window(x), window(y)
            vx, vy, vxy = window(x * x) - mx**2, window(y * y) - my**2, window(x * y) - mx * my
            structure = (2 * vxy + 58.5225) / (vx + vy + 58.5225)
            light = (2 * mx * my + 6.5025) / (mx**2 + my**2 + 6.5025)
            value *= (structure * (light if scale == 4 else 1)).mean() ** exponent
            rows = len(x) // 2
            x, y = (p.reshape(rows, 2, rows, 2).mean((1, 3)) for p in (x, y))
        wanted.append(value)
    assert found("ms_ssim", noisy, clean) == pytest.approx(wanted, abs=1e-5)


@pytest.mark.slow
def test_vif_of_grey_images_is_that_of_torchmetrics() -> None:
    clean, noisy = pair(1)
    wanted = [
        visual_information_fidelity(torch.tensor(b)[None].float(), torch.tensor(a)[None].float())
        for a, b in zip(clean, noisy, strict=True)
    ]
    assert found("vif", noisy, clean) == pytest.approx([float(w) for w in wanted], abs=2e-5)


def _halved(plane: np.ndarray) -> np.ndarray:
    rows, columns = np.array(plane.shape) // 2
    return plane.reshape(rows, 2, columns, 2).mean((1, 3))


@pytest.mark.slow
def test_gmsd_is_its_formula_written_out_and_blind_to_an_offset() -> None:
    clean, noisy = pair(1)
    kernel = np.array([[1, 0, -1]] * 3) / 3
    wanted = []
    for a, b in zip(clean[:, 0], noisy[:, 0], strict=True):
        steep = []
        for plane in (a, b):
            small = _halved(plane.astype(float))
            across, down = (convolve2d(small, k, "valid") for k in (kernel, kernel.T))
            steep.append(np.hypot(across, down))
        x, y = steep
        wanted.append(((2 * x * y + 170) / (x**2 + y**2 + 170)).std())
    assert found("gmsd", noisy, clean) == pytest.approx(wanted, abs=1e-6)
    dim = clean // 2
    assert found("gmsd", dim + 30, dim) == pytest.approx([0, 0], abs=1e-7)


def _same(plane: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Convolve as MATLAB's conv2(..., 'same') does: for even sizes scipy's is one pixel off."""
    (height, width), start = plane.shape, len(kernel) // 2
    return convolve2d(plane, kernel)[start : start + height, start : start + width]


@pytest.mark.slow
def test_haarpsi_is_its_formula_written_out() -> None:
    clean, noisy = pair(3)
    yiq = np.array([LUMA, [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])

    def alike(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (2 * x * y + 30) / (x**2 + y**2 + 30)

    wanted = []
    for a, b in zip(clean, noisy, strict=True):
        planes = [[_halved(np.tensordot(w, i.astype(float), 1)) for w in yiq] for i in (a, b)]
        similar, weights = [], []
        for turned in (False, True):
            scales = []
            for size in (2, 4, 8):
                kernel = np.ones((size, size)) / size
                kernel[: size // 2] *= -1
                kernel = kernel.T if turned else kernel
                scales.append([np.abs(_same(p[0], kernel)) for p in planes])
            similar.append((alike(*scales[0]) + alike(*scales[1])) / 2)
            weights.append(np.maximum(*scales[2]))
        smooth = [[np.abs(_same(p[c], np.ones((2, 2)) / 4)) for p in planes] for c in (1, 2)]
        similar.append((alike(*smooth[0]) + alike(*smooth[1])) / 2)
        weights.append((weights[0] + weights[1]) / 2)
        squashed = [1 / (1 + np.exp(-4.2 * s)) for s in similar]
        share = np.sum([(s * w).sum() for s, w in zip(squashed, weights, strict=True)])
        share /= np.sum(weights)
        wanted.append((np.log(share / (1 - share)) / 4.2) ** 2)
    assert found("haarpsi", noisy, clean) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_clean_image_is_as_good_as_can_be(channels: int) -> None:
    clean, _ = pair(channels)
    best = {
        "mse": 0,
        "psnr": np.inf,
        "ssim": 1,
        "foreground_ssim": 1,
        "ms_ssim": 1,
        "vif": 1,
        "gmsd": 0,
        "haarpsi": 1,
    }
    flat = np.full_like(clean, 77)
    for name in FULL:
        assert found(name, clean, clean) == pytest.approx([best[name]] * 2, abs=1e-5), name
        assert found(name, flat, flat) == pytest.approx([best[name]] * 2, abs=1e-5), name


def test_noise_is_found_as_it_was_drawn() -> None:
    drawn = np.random.default_rng(1).normal(size=(1, 1, 512, 512)) * 10
    noisy = np.rint(128 + drawn).astype(np.uint8)
    assert found("noise_sigma", noisy) == pytest.approx(10, rel=0.01)
    steps = 0.5 / 0.67449  # medians of halves of whole grey levels
    assert found("haar_sigma", noisy) == pytest.approx(10, abs=steps)
    assert haar_sigma(torch.from_numpy(drawn[0]).float()).item() == pytest.approx(10, rel=0.01)
    assert found("laplacian_variance", noisy) == pytest.approx(20 * 100, rel=0.02)
    assert found("contrast", noisy) == pytest.approx(10, rel=0.01)
    soft = cv2.GaussianBlur(4 * drawn[0, 0], (0, 0), 2)  # a variance of 1 / (16 pi) is left of it
    blurred = np.rint(128 + soft).astype(np.uint8)[None, None]
    left = found("contrast", blurred)[0] ** 2 - 1 / 12  # of whole grey levels
    assert left / 40**2 == pytest.approx(0.0199, rel=0.03)


def test_the_laplacian_and_total_variation_are_those_of_opencv_and_numpy() -> None:
    _, noisy = pair(1)
    for image, variance, total in zip(
        noisy[:, 0],
        found("laplacian_variance", noisy),
        found("total_variation", noisy),
        strict=True,
    ):
        plane = image.astype(float)
        wanted = cv2.Laplacian(plane, cv2.CV_64F)[1:-1, 1:-1].var()
        assert variance == pytest.approx(wanted, rel=1e-5)
        steps = [np.abs(np.diff(plane, axis=axis)).mean() for axis in (0, 1)]
        assert total == pytest.approx(sum(steps), rel=1e-5)


def test_grey_levels_are_counted_and_split_as_scikit_image_does() -> None:
    clean, _ = pair(1)
    for image, bits in zip(clean[:, 0], found("entropy", clean), strict=True):
        assert bits == pytest.approx(shannon_entropy(image), abs=1e-9)
        counted = torch.from_numpy(np.bincount(image.ravel(), minlength=256)).double()[None]
        assert thresholds(counted).item() == threshold_otsu(image)
    every = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    assert found("entropy", every) == pytest.approx(8)


def test_signal_contrast_and_foreground_are_those_of_a_drawn_disc() -> None:
    rng = np.random.default_rng(2)
    y, x = np.mgrid[:256, :256] - 128
    disc = x**2 + y**2 < 80**2
    plane = np.where(disc, 180, 40) + rng.normal(size=disc.shape) * 4
    image = np.rint(plane).astype(np.uint8)[None, None]
    assert found("foreground_share", image) == pytest.approx(disc.mean())
    sigma = found("noise_sigma", image)
    assert found("snr", image) == pytest.approx(180 / sigma, rel=1e-3)
    assert found("cnr", image) == pytest.approx(140 / sigma, rel=1e-3)
    assert 3.9 < sigma < 4.6  # the edge adds to it


@pytest.mark.slow
def test_blur_lowers_sharpness_though_noise_is_added() -> None:
    _, sharp = pair(1, sigma=0)
    soft = np.stack([cv2.GaussianBlur(i, (0, 0), 3) for i in sharp[:, 0]])[:, None]
    rng = np.random.default_rng(3)
    noisy = np.clip(soft + rng.normal(size=soft.shape), 0, 255).astype(np.uint8)
    assert (found("sharpness", soft) < found("sharpness", sharp)).all()
    assert (found("laplacian_variance", noisy) > found("laplacian_variance", sharp)).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_number_does_not_depend_on_the_other_images_of_a_batch(channels: int) -> None:
    clean, noisy = (torch.from_numpy(a) for a in pair(channels))
    together = measure(noisy, WITHOUT_SITE, clean=clean)
    for row in range(2):
        own = slice(row, row + 1)
        single = measure(noisy[own], WITHOUT_SITE, clean=clean[own])
        for name in WITHOUT_SITE:
            assert single[name].item() == pytest.approx(together[name][row].item(), rel=1e-6), name


def test_every_measure_has_a_definition_and_an_odd_size_is_taken() -> None:
    assert set(COMPUTE) == set(MEASURES)
    rng = np.random.default_rng(4)
    a, b = (torch.from_numpy(rng.integers(0, 256, (1, 3, 181, 179), np.uint8)) for _ in range(2))
    for values in measure(a, WITHOUT_SITE, clean=b).values():
        assert values.shape == (1,)
        assert values.isfinite().all()


def test_what_has_no_value_is_not_finite_and_what_cannot_be_measured_is_refused() -> None:
    flat = torch.full((1, 1, 16, 16), 9, dtype=torch.uint8)
    assert not measure(flat, ["snr", "cnr"])["snr"].isfinite().any()
    with pytest.raises(ConfigurationError, match="ssim compare with a clean original"):
        measure(flat, ["ssim", "entropy"])
    with pytest.raises(InvalidImageError, match="vif takes images of at least 41"):
        measure(flat, ["vif", "entropy"], clean=flat)
    with pytest.raises(InvalidImageError, match="uint8 tensor"):
        measure(flat.float(), ["entropy"])
    with pytest.raises(InvalidImageError, match="1 or 3 channels, got 2"):
        measure(flat.expand(1, 2, 16, 16), ["entropy"])
    with pytest.raises(InvalidImageError, match="do not belong"):
        measure(flat, ["mse"], clean=flat[..., :8])
    with pytest.raises(UnknownNameError, match="Did you mean 'ssim'"):
        ImageQuality(["sssim"])
    with pytest.raises(ConfigurationError, match="each once"):
        ImageQuality(["ssim", "ssim"])


@pytest.mark.parametrize("shape", [(3, 1, 224, 224), (2, 3, 31, 17), (1, 3, 1, 1)])
def test_squared_errors_are_exact_whole_numbers(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(5)
    a, b = (torch.from_numpy(rng.integers(0, 256, shape, np.uint8)) for _ in range(2))
    for clean, shown in ((a, b), (torch.zeros_like(a), torch.full_like(a, 255)), (a, a)):
        exact = ((clean.long() - shown.long()) ** 2).flatten(1).sum(1).double() / a[0].numel()
        assert torch.equal(measure(shown, ["mse"], clean=clean)["mse"], exact)


def test_ssim_of_the_foreground_is_the_mean_of_the_map_over_the_bright_part() -> None:
    rng = np.random.default_rng(6)
    clean = np.full((1, 1, 64, 64), 20, np.uint8)
    clean[..., 20:50, 16:44] = 200
    noisy = clean.copy()
    noisy[..., 20:50, 16:44] = 200 + rng.integers(-40, 40, (30, 28))
    _, maps = structural_similarity(
        clean[0, 0].astype(float), noisy[0, 0].astype(float), data_range=255, full=True,
        gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
    )  # fmt: skip
    value = found("foreground_ssim", noisy, clean)
    assert value == pytest.approx(maps[20:50, 16:44].mean(), abs=1e-6)
    assert value < found("ssim", noisy, clean) - 0.2  # the dark background hides what is lost
    colour = (np.repeat(a, 3, 1) for a in (noisy, clean))
    assert found("foreground_ssim", *colour) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("size", [16, 128, 193, 256])
def test_what_is_compiled_for_the_cpu_measures_what_maps_on_any_device_do(size: int) -> None:
    clean, noisy = (torch.from_numpy(a[:, 0]).float() for a in pair(1, size))
    light, alike = structure.similarity_maps(clean, noisy)
    maps = torch.stack([(light * alike).flatten(1).mean(1), alike.flatten(1).mean(1)])
    assert torch.stack(structure.similar_means(clean, noisy)[:2]).numpy() == pytest.approx(
        maps.numpy(), abs=1e-6
    )
    assert gradients.gmsd(clean, noisy).numpy() == pytest.approx(
        gradients.gradient_deviations_of_maps(clean, noisy).numpy(), abs=1e-6
    )
    for one, other in zip(
        gradients.edge_sums(clean, noisy), gradients.edge_sums_of_maps(clean, noisy), strict=True
    ):
        assert one.numpy() == pytest.approx(other.numpy(), rel=1e-5, abs=1e-4)
    if size >= MEASURES["vif"].smallest:
        for one, other in zip(
            fidelity.vif_sums(clean, noisy), fidelity.vif_sums_of_maps(clean, noisy), strict=True
        ):
            assert one.numpy() == pytest.approx(other.numpy(), rel=1e-5)
    for one, other in zip(
        alone.smooth_differences_of_maps(noisy), _smooth_differences(noisy), strict=True
    ):
        assert one.numpy() == pytest.approx(other, rel=1e-5)
    compiled, maps_of = alone.differences(noisy), alone.differences_of_maps(noisy)
    for name in ("noise", "laplacian", "steps"):
        values = getattr(maps_of, name).numpy()
        assert getattr(compiled, name).numpy() == pytest.approx(values, rel=1e-5), name


def _smooth_differences(planes: torch.Tensor) -> list[np.ndarray]:
    sums = np.empty((len(planes), 2))
    smooth_difference_sums(planes.numpy(), sums)
    return list(sums.T)
