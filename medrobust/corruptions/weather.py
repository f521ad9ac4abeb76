"""Weather: snow, frost, fog, and what splashes on the lens."""

from collections.abc import Mapping
from math import ceil
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from medrobust.exceptions import ConfigurationError, InvalidImageError
from medrobust.keys import NORMAL_SCALE, Draws, normal_table
from medrobust.types import UInt8Batch

from .batches import Int32Array, check_batch
from .blur import tail_offsets, tail_weights
from .dispatch import compiled, route_of
from .smoothing import border_map, gaussian_weights, smooth

LAYER_BITS, STREAK_BITS = 14, 16
"""Fixed point of the values of a layer of snow and of the weights that smear it."""

COLORS: Mapping[str, tuple[int, int, int]] = MappingProxyType(
    {"water": (175, 238, 238), "mud": (63, 42, 20)}
)
"""Red, green and blue of what `spatter` spills."""


def snow(
    images: UInt8Batch,
    mean: float,
    std: float,
    zoom: float,
    threshold: float,
    radius: int,
    sigma: float,
    mix: float,
    *,
    layer: Tensor | Draws,
    angle: Tensor | Draws,
) -> UInt8Batch:
    """Whiten every image and let streaks of snow fall over it.

    A small field N(mean, std^2) is enlarged bilinearly, cut below `threshold`, smeared like
    `motion_blur` and rounded to 255ths. The image becomes mix x + (1 - mix) max(x, 1.5 grey + 1/2);
    the layer is added as it is and once more upside down.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        mean: Of the field.
        std: Of the field.
        zoom: Enlargement of the field.
        threshold: Smaller values of the enlarged field are no snow.
        radius: Half the length of the smear in pixels.
        sigma: Standard deviation of the smear in pixels.
        mix: Share of the image that is not whitened.
        layer: Standard normal draws, (N, ceil(H / zoom), ceil(W / zoom)), or keyed draws.
        angle: Direction of the smear in degrees, (N,), or keyed draws: uniform in [-135, -45).

    Returns:
        uint8 batch of the same shape: clipped, truncated.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    References:
        arXiv:1903.12261, as bethgelab/imagecorruptions computes it.
    """
    check_batch(images)
    height, width = images.shape[2:]
    if isinstance(angle, Draws):
        angle = -135.0 + 90.0 * angle.uniform(1)[:, 0]
    row, row_share = _enlarged(height, zoom)
    column, column_share = _enlarged(width, zoom)
    weights = tail_weights(radius, sigma, STREAK_BITS)
    dx, dy, taps = tail_offsets(angle, len(weights), len(row), len(column))
    cut, keep = np.int32(ceil(threshold * (1 << LAYER_BITS))), np.int32(mix * (1 << LAYER_BITS))
    enlarged, smear = (row, row_share, column, column_share), (weights, dx, dy, taps)
    tables = (_snow_table(mean, std), *enlarged, cut, *smear, keep)
    fast = compiled(images, "weather.snowfall", *tables, draws=layer)
    if fast is not None:
        return fast
    small = (ceil(height / zoom), ceil(width / zoom))
    if isinstance(layer, Draws):
        layer = layer.normal(small[0] * small[1], images.device).reshape(-1, *small)
    values = layer.to(images.device, torch.float64) * std + mean
    field = torch.round(values * (1 << LAYER_BITS)).int()
    field = _between(_between(field, row, row_share, 1), column, column_share, 2)
    field = torch.where(field < int(cut), 0, field).clamp(0, 1 << LAYER_BITS)
    rows, columns = (torch.arange(len(t), device=images.device) for t in (row, column))
    streaks = torch.zeros_like(field)
    for n in range(len(field)):
        for weight, x, y in zip(weights[: taps[n]], dx[n], dy[n], strict=False):
            moved = field[n, (rows + int(y)).clamp(0, len(row) - 1)]
            streaks[n] += int(weight) * moved[:, (columns + int(x)).clamp(0, len(column) - 1)]
    flakes = ((streaks >> 8) * 255 + (1 << 21)) >> 22
    flakes = flakes[:, None, :height, :width]
    flakes = flakes + flakes.flip(2, 3)
    old = images.int()
    grey = old << 16
    if images.shape[1] == 3:
        grey = 19595 * old[:, :1] + 38470 * old[:, 1:2] + 7471 * old[:, 2:]
    white = torch.maximum(old << 16, (3 * grey >> 1) + 8355840) >> 9
    mixed = (int(keep) * (old << 7) + ((1 << LAYER_BITS) - int(keep)) * white) >> LAYER_BITS
    out: Tensor = ((mixed + (flakes << 7)) >> 7).clamp(max=255).to(torch.uint8)
    return out


def _snow_table(mean: float, std: float) -> Int32Array:
    """Tabulate the value of a layer of snow at a 16-bit draw, in units of 2^-14."""
    table = mean + std * (normal_table() / NORMAL_SCALE)
    return np.rint(table * (1 << LAYER_BITS)).astype(np.int32)


def _enlarged(side: int, zoom: float) -> tuple[Int32Array, Int32Array]:
    """Give, for each place of the enlarged axis, the lower source place and the next one's share.

    The last place lies on the last source place, written as all of the next one.
    """
    small = ceil(side / zoom)
    large = round(small * zoom)
    place = np.arange(large) * ((small - 1) / (large - 1))
    lower = np.minimum(place.astype(np.int32), small - 2)
    return lower, np.rint((place - lower) * (1 << LAYER_BITS)).astype(np.int32)


def _between(field: Tensor, lower: Int32Array, share: Int32Array, axis: int) -> Tensor:
    at = torch.from_numpy(lower).to(field.device).long()
    weight = torch.from_numpy(share).to(field.device)
    weight = weight[:, None] if axis == 1 else weight
    first, second = field.index_select(axis, at), field.index_select(axis, at + 1)
    between: Tensor = first + (((second - first) * weight) >> LAYER_BITS)
    return between


def frost(
    images: UInt8Batch,
    image_weight: float,
    frost_weight: float,
    zoom: float = 1.1,
    textures: str | None = None,
    *,
    texture: Tensor | Draws,
    top: Tensor | Draws,
    left: Tensor | Draws,
) -> UInt8Batch:
    """Lay a crop of a frosty texture over every image: image_weight x + frost_weight frost.

    The textures are made here, with the statistics of the published photographs (see
    `frost_textures`): results agree with published ones in distribution, not pixel by pixel.

    Args:
        images: uint8 batch of shape (N, 3, H, W), on any device; not modified.
        image_weight: Of the image.
        frost_weight: Of the texture.
        zoom: Enlargement of the textures; more where an image would not fit in.
        textures: Folder with pictures of one's own instead; each is drawn equally often.
        texture: Number of the texture, int64 (N,), or keyed draws.
        top: First row of the crop, int64 (N,), or keyed draws: where it fits.
        left: First column of the crop, likewise.

    Returns:
        uint8 batch of the same shape: clipped, truncated.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 3 channels.
        ConfigurationError: If the folder has no pictures.

    References:
        arXiv:1903.12261, as bethgelab/imagecorruptions computes it.

    Example:
        >>> white = torch.full((1, 3, 28, 28), 255, dtype=torch.uint8)
        >>> first = {draw: torch.tensor([0]) for draw in ("texture", "top", "left")}
        >>> frost(white, 0.5, 0.0, 1.0, **first).unique().tolist()  # half the image, and no frost
        [127]
    """
    from .frost_textures import frost_textures

    _check_color("frost", images)
    height, width = images.shape[2:]
    bank = frost_textures(max(height, width), zoom, textures)
    if isinstance(texture, Draws):
        texture = texture.integers(0, len(bank), 1)[:, 0]
    chosen = texture.cpu().numpy()
    shapes = np.array([t.shape[1:] for t in bank])
    rooms = (shapes - (height, width))[chosen]
    top, left = (_placed(draw, rooms[:, i]) for i, draw in enumerate((top, left)))
    levels = np.arange(256, dtype=np.float64)
    image_share, frost_share = image_weight * levels, frost_weight * levels
    shares = (image_share, frost_share)
    if route_of(images) == "triton":  # the whole bank lies on the device: no crop is copied
        places = (shapes, chosen, top.numpy(), left.numpy())
        fast = compiled(images, "weather.blend_crops", zoom, textures, *places, shares)
        assert fast is not None
        return fast
    crops = np.stack(
        [
            bank[t][:, y : y + height, x : x + width]
            for t, y, x in zip(chosen, top.tolist(), left.tolist(), strict=True)
        ]
    )
    fast = compiled(images, "weather.blend_crops", crops, *shares)
    if fast is not None:
        return fast
    laid = torch.from_numpy(crops).to(images.device)
    total = image_weight * images.double() + frost_weight * laid.double()
    return total.clamp(max=255).to(torch.uint8)


def _placed(draw: Tensor | Draws, room: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> Tensor:
    """Draw integers in [0, room), (N,): the share of a 32-bit word, so that rooms may differ."""
    if not isinstance(draw, Draws):
        given = draw.cpu()
        if bool((given > torch.from_numpy(room)).any()):
            raise ConfigurationError(
                f"a crop of frost begins outside its texture: top and left are at most "
                f"{room.tolist()} here."
            )
        return given
    return (draw.words(1)[:, 0] * torch.from_numpy(room)) >> 32


def fog(images: UInt8Batch, amount: float, decay: float, *, uniform: Tensor | Draws) -> UInt8Batch:
    """Add a cloudy map to every image and scale it back to its old maximum.

    The map is a wrapped diamond-square plasma whose side is the next power of two, normalised to
    [0, 1]; its top left part is taken.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        amount: Of fog, as a fraction of full scale.
        decay: By which the roughness falls from each scale to the next finer one.
        uniform: Draws in [0, 1), (N, side^2), or keyed draws: for a level of m x m points, from
            m^2 - 1 on, m^2 centres of squares, m^2 points between columns, m^2 between rows. The
            upper 24 bits count.

    Returns:
        uint8 batch of the same shape, truncated.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    References:
        arXiv:1903.12261.
    """
    check_batch(images)
    height, width = images.shape[2:]
    side = 1 << (max(height, width) - 1).bit_length()
    amount = float(np.float32(255 * amount))
    fast = compiled(images, "weather.fog_over", side, amount, float(decay), draws=uniform)
    if fast is not None:
        return fast
    if isinstance(uniform, Draws):
        uniform = uniform.uniform(side * side, images.device)
    noise = (uniform.to(images.device, torch.float64) * 2**24).long().float()
    plasma = _plasma(noise, side, decay)
    lowest, highest = plasma.amin((1, 2), keepdim=True), plasma.amax((1, 2), keepdim=True)
    mist = (plasma - lowest) * (amount / (highest - lowest))
    top = images.amax((1, 2, 3), keepdim=True).float()
    out = (images + mist[:, None, :height, :width]) * (top / (top + amount))
    return out.clamp(max=255).to(torch.uint8)


def _plasma(noise: Tensor, side: int, decay: float) -> Tensor:
    """Build diamond-square maps (N, side, side) from 24-bit draws, in the native kernel's order."""
    grid = noise.new_zeros(len(noise), 1, 1)
    points, wibble = 1, 100.0
    while points < side:
        reach = float(np.float32(wibble * wibble))
        unit = float(np.float32(2.0 * wibble * wibble * 2.0**-24))
        first = points * points - 1
        waves = noise[:, first : first + 3 * points * points] * unit - reach
        center, beside, below = waves.reshape(-1, 3, points, points).unbind(1)
        after = grid + grid.roll(-1, 1)
        middle = (after + after.roll(-1, 2)) * 0.25 + center
        across = ((middle + middle.roll(1, 1)) + (grid + grid.roll(-1, 2))) * 0.25 + beside
        down = ((middle + middle.roll(1, 2)) + (grid + grid.roll(-1, 1))) * 0.25 + below
        rows = torch.stack([torch.stack([grid, across], 3), torch.stack([down, middle], 3)], 2)
        points *= 2
        grid = rows.reshape(-1, points, points)
        wibble /= decay
    return grid


def spatter(
    images: UInt8Batch,
    mean: float,
    std: float,
    sigma: float,
    threshold: float,
    strength: float,
    liquid: Literal["water", "mud"],
    *,
    layer: Tensor | Draws,
) -> UInt8Batch:
    """Splash drops on the lens.

    A field N(mean, std^2) is smoothed by `sigma`. Water: where it passes `threshold`, a relief made
    from the distance to the drops' edges lightens the image by up to `strength` times pale
    turquoise. Mud: the part above `threshold` is smoothed by `strength`, cut below 0.8, and covers
    the image in brown.

    The relief of water has the bits of OpenCV with Intel's library, as in the reference; it does
    not depend on the image.

    Args:
        images: uint8 batch of shape (N, 3, H, W), on any device; not modified.
        mean: Of the field.
        std: Of the field.
        sigma: Of the smoothing in pixels.
        threshold: Larger values are drops.
        strength: Of the color of water; or sigma of the edges of mud in pixels.
        liquid: "water" or "mud".
        layer: Standard normal draws, (N, H, W), or keyed draws.

    Returns:
        uint8 batch of the same shape: clipped, truncated.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 3 channels.

    References:
        arXiv:1903.12261, as bethgelab/imagecorruptions computes it.
    """
    _check_color("spatter", images)
    layers = _liquid(images, mean, std, sigma, layer)
    if liquid == "water":
        masks = _relief(images, layers, threshold, strength)
    else:
        masks = _puddles(layers, np.float32(threshold), strength)
    color = np.array(COLORS[liquid], np.float32)
    fast = compiled(images, "weather.spill", masks.to(images.device), color, liquid == "mud")
    if fast is not None:
        return fast
    cover = masks.to(images.device)[:, None]
    old = images.float()
    kept = old - old * cover if liquid == "mud" else old
    total = kept + cover * torch.from_numpy(color).to(images.device)[:, None, None]
    return total.clamp(max=255).to(torch.uint8)


def _liquid(
    images: UInt8Batch, mean: float, std: float, sigma: float, layer: Tensor | Draws
) -> Tensor:
    """Make the smoothed field of every image: float32 (N, H, W), with Triton on its device."""
    height, width = images.shape[2:]
    weights = gaussian_weights(sigma, int(4 * sigma + 0.5))
    if not isinstance(layer, Draws):
        field = (layer.cpu().double() * std + mean).float()
        return smooth(field, weights, "nearest")
    table = (mean + std * (normal_table() / NORMAL_SCALE)).astype(np.float32)
    rows, columns = (border_map(side, len(weights) // 2, "nearest") for side in (height, width))
    scratch = torch.empty(len(images), height, width, device=images.device)
    return _on_layers(scratch, "weather.liquid_layers", table, weights, rows, columns, draws=layer)


def _relief(images: UInt8Batch, layers: Tensor, threshold: float, strength: float) -> Tensor:
    """Turn smoothed fields into how much water lightens: float32 (N, H, W), by Triton or numba.

    OpenCV without Intel's library measures distances in fixed point: its reliefs differ.
    """
    layers = layers.to(images.device)
    return _on_layers(layers, "water.relief_of", float(np.float32(threshold)), strength)


def _puddles(layers: Tensor, threshold: Any, sigma: float) -> Tensor:
    """Turn smoothed fields into how much mud covers: float32 (N, H, W), 0 or from 0.8 to 1."""
    wet = (layers > float(threshold)).float()
    weights = gaussian_weights(sigma, int(4 * sigma + 0.5))
    rows, columns = (border_map(s, len(weights) // 2, "nearest") for s in wet.shape[1:])
    masks = _on_layers(wet, "weather.smooth_layers", weights, rows, columns)
    return torch.where(masks < 0.8, 0.0, masks).clamp(max=1.0)


def _on_layers(layers: Tensor, step: str, *tables: Any, draws: Draws | None = None) -> Tensor:
    """Run a step on float32 layers (N, H, W): by Triton where they lie, else by numba."""

    def out() -> Tensor:
        return torch.empty(layers.shape)

    made = compiled(layers, step, *tables, draws=draws, out=out, or_cpu=True)
    assert made is not None
    return made


def _check_color(name: str, images: UInt8Batch) -> None:
    check_batch(images)
    if images.shape[1] != 3:
        raise InvalidImageError(f"{name} takes 3 channels, got 1. Repeat the grey channel first.")
