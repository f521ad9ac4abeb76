import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from medrobust.exceptions import ConfigurationError, InvalidImageError
from medrobust.models import Preprocess
from medrobust.models.area_preprocess import resize_by_area
from medrobust.models.preprocess import CLIP_MEAN, CLIP_STD
from medrobust.models.resample import _resize_rows, resize

SIZES = [(300, 260), (64, 64), (28, 41), (225, 224), (512, 224), (448, 448), (337, 611)]


def noise(height: int, width: int, channels: int = 3, count: int = 2) -> np.ndarray:
    shape = (count, height, width, channels)
    return np.random.default_rng(height * width).integers(0, 256, shape, dtype=np.uint8)


def batch(pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pictures).permute(0, 3, 1, 2)


def two_passes(image: Image.Image, height: int, width: int, method: int = 3) -> Image.Image:
    """Resize along the rows, then along the columns: the order of every Pillow before 13."""
    return image.resize((width, image.height), method).resize((width, height), method)


def shortest(image: Image.Image) -> Image.Image:
    """Resize as torchvision does, which computes the long side like this."""
    short = min(image.size)
    width, height = (int(224 * side / short) for side in image.size)
    return two_passes(image, height, width)


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["bicubic", "bilinear"])
def test_resize_equals_pillow_to_the_last_bit(size: tuple[int, int], kind: str) -> None:
    pictures = noise(*size)
    method = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}[kind]
    truth = [np.asarray(two_passes(Image.fromarray(p), 98, 224, method)) for p in pictures]
    ours = resize(batch(pictures), 98, 224, kind).permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(ours, np.stack(truth))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_shortest_fit_equals_the_published_clip_pipeline(
    size: tuple[int, int], channels: int
) -> None:
    pictures = noise(*size, channels)
    published = transforms.Compose(
        [
            transforms.Lambda(shortest),
            transforms.Resize(224, InterpolationMode.BICUBIC),
            transforms.CenterCrop(224),
            transforms.Lambda(lambda image: image.convert("RGB")),
            transforms.ToTensor(),
            transforms.Normalize(CLIP_MEAN, CLIP_STD),
        ]
    )
    truth = torch.stack([published(Image.fromarray(p.squeeze())) for p in pictures])
    ours = Preprocess(224, CLIP_MEAN, CLIP_STD)(batch(pictures))
    assert torch.equal(ours, truth)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("channels", [1, 3])
def test_a_gpu_gives_the_same_bits(channels: int) -> None:
    pictures = batch(noise(300, 260, channels))
    preprocess = Preprocess(224, CLIP_MEAN, CLIP_STD)
    assert torch.equal(preprocess(pictures.cuda()).cpu(), preprocess(pictures))


def test_squash_ignores_the_aspect_ratio() -> None:
    pictures = noise(100, 50)
    image = Image.fromarray(pictures[0])
    truth = np.asarray(two_passes(image, 64, 64, Image.Resampling.BILINEAR))
    ours = Preprocess(64, (0, 0, 0), (1, 1, 1), interpolation="bilinear", fit="squash")
    np.testing.assert_array_equal(
        (ours(batch(pictures))[0] * 255).round(), truth.transpose(2, 0, 1)
    )


@pytest.mark.parametrize("size", [(100, 51), (20, 31)])
def test_pad_keeps_the_whole_image_on_a_black_square(size: tuple[int, int]) -> None:
    pictures = noise(*size)
    height, width = size
    side = max(64, *size)
    canvas = Image.new("RGB", (side, side), 0)
    canvas.paste(Image.fromarray(pictures[0]), (int((side - width) / 2), int((side - height) / 2)))
    truth = np.asarray(canvas.resize((64, 64), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    ours = Preprocess(64, (0, 0, 0), (1, 1, 1), fit="pad")(batch(pictures))
    np.testing.assert_array_equal((ours[0] * 255).round(), truth)


def test_an_image_of_the_right_size_is_normalised_once_and_not_resampled() -> None:
    image = torch.full((1, 3, 8, 8), 51, dtype=torch.uint8)
    image[0, 0, 0, 0] = 255
    mean, std = (0.1, 0.2, 0.4), (0.5, 0.25, 0.1)
    pixels = Preprocess(8, mean, std)(image)
    assert pixels[0, :, 4, 4].tolist() == pytest.approx([0.2, 0.0, -2.0])
    assert pixels[0, 0, 0, 0].item() == pytest.approx(1.8)


def test_the_batch_that_goes_in_is_not_modified() -> None:
    image = batch(noise(30, 30))
    before = image.clone()
    Preprocess(16, CLIP_MEAN, CLIP_STD)(image)
    Preprocess(30, CLIP_MEAN, CLIP_STD)(image)
    assert torch.equal(image, before)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 2, 8, 8)])
def test_what_is_no_image_batch_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidImageError, match="uint8 images"):
        Preprocess(8, CLIP_MEAN, CLIP_STD)(torch.zeros(shape, dtype=torch.uint8))
    with pytest.raises(InvalidImageError, match="float32"):
        Preprocess(8, CLIP_MEAN, CLIP_STD)(torch.zeros(1, 3, 8, 8))


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 0},
        {"mean": (0.5,)},
        {"std": (1, 0, 1)},
        {"fit": "stretch"},
        {"interpolation": "x"},
        {"resize": 7},
    ],
)
def test_impossible_values_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        Preprocess(**{"size": 8, "mean": CLIP_MEAN, "std": CLIP_STD} | wrong)


def test_a_larger_resize_before_the_crop_equals_the_published_pipeline() -> None:
    pictures = noise(64, 64)
    large = [Image.fromarray(p).resize((40, 40), Image.Resampling.BICUBIC) for p in pictures]
    truth = np.stack([np.asarray(image)[4:36, 4:36] for image in large]).transpose(0, 3, 1, 2)
    ours = Preprocess(32, (0, 0, 0), (1, 1, 1), resize=40)(batch(pictures))
    np.testing.assert_array_equal((ours * 255).round(), truth)


def test_color_becomes_grey_as_in_pillow() -> None:
    pictures = noise(16, 16)
    truth = np.stack([np.asarray(Image.fromarray(p).convert("L")) for p in pictures])
    ours = (Preprocess(16, (0, 0, 0), (1, 1, 1), grey=True)(batch(pictures)) * 255).round()
    for channel in range(3):
        np.testing.assert_array_equal(ours[:, channel], truth)


@pytest.mark.parametrize("tall", [18, 30, 64])  # one axis smaller, as it is, larger
@pytest.mark.parametrize("kind", ["bicubic", "bilinear"])
def test_the_form_for_any_device_resizes_to_the_same_bits(tall: int, kind: str) -> None:
    images = batch(noise(30, 41))
    wide = _resize_rows(images.transpose(-1, -2), 23, kind).transpose(-1, -2)
    assert torch.equal(_resize_rows(wide, tall, kind), resize(images, tall, 23, kind))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_gpu_resizes_to_the_same_bits() -> None:
    images = batch(noise(300, 260))
    assert torch.equal(
        resize(images.cuda(), 224, 193, "bicubic").cpu(), resize(images, 224, 193, "bicubic")
    )


def test_each_images_own_range_is_spread_first_as_numpy_does_it() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(20, 131, (3, 1, 8, 8), generator=generator).to(torch.uint8)
    images[2] = 77  # of one value: left alone
    spread = Preprocess(None, (0.0,) * 3, (1.0,) * 3, stretch=True)(images)[:, :1] * 255
    for seen, image in zip(spread[:2], images[:2].numpy().astype(float), strict=True):
        image -= image.min()
        image /= image.max()
        assert (seen.round().numpy() == (image * 255).astype(np.uint8)).all()
        assert seen.max() == 255
    assert (spread[2].round() == 77).all()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((28, 20), (256, 182)),  # grown
        ((5, 3), (6, 3)),  # grown by little, one axis alone
        ((64, 48), (32, 24)),  # blocks of four
        ((96, 60), (32, 20)),  # blocks of nine
        ((257, 300), (219, 256)),  # parts of pixels
        ((70, 50), (16, 11)),
    ],
)
def test_areas_are_those_of_opencv(old: tuple[int, int], new: tuple[int, int]) -> None:
    grey = np.random.default_rng(0).integers(0, 256, old).astype(np.uint8)
    truth = cv2.resize(grey, new[::-1], interpolation=cv2.INTER_AREA)
    ours = resize_by_area(torch.from_numpy(grey)[None, None], *new)
    assert np.array_equal(ours[0, 0].numpy(), truth)
