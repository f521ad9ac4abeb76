"""Write what TorchIO 1.2.1 and MONAI 1.6.1 make of a slice with given parameters.

python tests/data/mri_packages/make.py    # in an environment that has both
"""

from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("outputs.npz")


def slices() -> dict[str, np.ndarray]:
    """Make an even slice, black about it, and an odd one: whole grey values."""
    from scipy.ndimage import gaussian_filter

    values = np.random.default_rng(0)
    even = np.rint(gaussian_filter(values.integers(20, 200, (60, 48)).astype(float), 2))
    even[:8], even[-8:], even[:, :8], even[:, -8:] = 0, 0, 0, 0
    odd = np.rint(gaussian_filter(values.integers(0, 256, (45, 33)).astype(float), 1))
    return {"even": even, "odd": odd}


def outputs() -> dict[str, np.ndarray]:
    """Run the packages."""
    import torch
    import torchio as tio
    from monai.transforms import GibbsNoise

    found = slices()
    even, odd = (torch.from_numpy(found[name]).float() for name in ("even", "odd"))
    slab = even[None, :, :, None]
    for axis in (0, 1):
        ghosts = tio.Ghosting(num_ghosts=4, axis=axis, intensity=0.6, restore=None)
        found[f"ghosting_{axis}"] = ghosts(slab).numpy()[0, :, :, 0]
        coarse = tio.RandomAnisotropy(axes=(axis,), downsampling=(3.3, 3.3))
        found[f"anisotropy_{axis}"] = coarse(slab).numpy()[0, :, :, 0]
    place = np.array([[(30 + 7) / 60 + 1e-6, (24 + 20) / 48 + 1e-6, 0.0]])
    found["spike"] = tio.Spike(place, 0.5)(slab).numpy()[0, :, :, 0]
    found["coefficients"] = np.random.default_rng(1).uniform(-0.5, 0.5, 10)
    given, plane = iter(found["coefficients"]), []
    for i in range(4):
        for j in range(4 - i):
            plane += [next(given)] + [0.0] * (3 - i - j)
    found["bias_field"] = tio.BiasField(plane, 3)(slab).numpy()[0, :, :, 0]
    shifts, still = np.array([[0, 6, -2], [0, -6, 2.0]]), np.zeros((2, 3))
    motion = tio.Motion(still, shifts, np.array([16, 32]) / 48 + 1e-4, "linear")
    found["mr_motion"] = motion(even[None, None]).numpy()[0, 0]
    found |= elastic(even.numpy())
    found["gibbs"] = np.asarray(GibbsNoise(0.6)(odd[None]))[0]
    return found


def elastic(plane: np.ndarray) -> dict[str, np.ndarray]:
    """Deform by ITK's B-splines, which TorchIO calls so: 7 points, 2 locked borders."""
    import SimpleITK as sitk

    moves = np.random.default_rng(2).uniform(-6, 6, (7, 7, 2)).astype(np.float32)
    moves[:2] = moves[-2:] = moves[:, :2] = moves[:, -2:] = 0
    image = sitk.GetImageFromArray(plane.astype(np.float32))
    spline = sitk.BSplineTransformInitializer(image, [4, 4])
    spline.SetParameters([*moves[..., 1].ravel().tolist(), *moves[..., 0].ravel().tolist()])
    resampler = sitk.ResampleImageFilter()
    resampler.SetReferenceImage(image)
    resampler.SetTransform(spline)
    resampler.SetInterpolator(sitk.sitkLinear)
    resampler.SetDefaultPixelValue(float(plane.min()))
    out = sitk.GetArrayFromImage(resampler.Execute(image))
    return {"elastic_moves": moves, "elastic": out}


if __name__ == "__main__":
    np.savez_compressed(FILE, **{k: v.astype(np.float32) for k, v in outputs().items()})
