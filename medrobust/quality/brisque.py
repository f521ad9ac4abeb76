"""BRISQUE: statistics of normalised brightness, and a regression that was learnt on photographs.

The features are those of the authors' program, with which the published model was fitted: luma
rounded to whole levels, borders repeated, neighbours round the edges, the second scale by a cubic
filter of eight pixels. The model and its ranges are read from the two files of OpenCV's form.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import gamma as gamma_function
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from medrobust.exceptions import WeightsMismatchError
from medrobust.types import Float64Array

from .niqe import SHAPES, ratios
from .windows import gaussian

WINDOW = np.array(gaussian(7, 7 / 6))

SHIFTS = ((0, 1), (1, 0), (1, 1), (-1, 1))
"""Neighbours whose products are looked at: right, below, and on both diagonals."""

FEATURES = 36


@dataclass(frozen=True, slots=True)
class Regression:
    """The published support vector regression.

    Attributes:
        low: float64 (36,), what each feature is scaled from, to -1.
        high: float64 (36,), and to 1.
        vectors: float64 (S, 36).
        weights: float64 (S,).
        gamma: Of the kernel exp(-gamma |f - v|²).
        rho: Taken off the weighted sum of kernels.
    """

    low: Float64Array
    high: Float64Array
    vectors: Float64Array
    weights: Float64Array
    gamma: float
    rho: float

    def score(self, features: Float64Array) -> Float64Array:
        """Return the score of each row of features (N, 36): 0 is good and 100 is bad."""
        scaled = 2 * (features - self.low) / (self.high - self.low) - 1
        apart = ((scaled[:, None] - self.vectors) ** 2).sum(axis=2)
        found: Float64Array = np.exp(-self.gamma * apart) @ self.weights - self.rho
        return found


@lru_cache(maxsize=4)
def read_regression(model: Path, ranges: Path) -> Regression:
    """Read `brisque_model_live.yml` and `brisque_range_live.yml`.

    Raises:
        WeightsMismatchError: If a file is not of that form.
    """
    try:
        return _regression(model, ranges)
    except (cv2.error, SystemError) as error:  # the latter is what its binding makes of the former
        raise WeightsMismatchError(
            f"{model.name} or {ranges.name} cannot be read as YAML of OpenCV: copy both again from "
            f"its quality module."
        ) from error


def _regression(model: Path, ranges: Path) -> Regression:
    file = cv2.FileStorage(str(model), cv2.FILE_STORAGE_READ)
    root = file.getNode("opencv_ml_svm")
    kernel = root.getNode("kernel")
    kinds = root.getNode("svmType").string(), kernel.getNode("type").string()
    if kinds != ("EPS_SVR", "RBF") or _number(root, "var_count") != FEATURES:
        raise WeightsMismatchError(
            f"{model.name} is no support vector regression of {FEATURES} features with a radial "
            f"kernel: take the file of that name from OpenCV's quality module."
        )
    decided, rows = root.getNode("decision_functions").at(0), root.getNode("support_vectors")
    weights = np.array(_listed(decided.getNode("alpha")))
    vectors = [_listed(rows.at(i)) for i in range(rows.size())]
    other = cv2.FileStorage(str(ranges), cv2.FILE_STORAGE_READ)
    limits = other.getNode("range").mat()
    complete = {len(row) for row in vectors} == {FEATURES} and len(vectors) == len(weights)
    if not complete or limits is None or limits.shape != (2, FEATURES):
        raise WeightsMismatchError(
            f"{model.name} and {ranges.name} do not hold vectors of {FEATURES} features with a "
            f"weight each, and two limits of each feature."
        )
    low, high = limits.astype(np.float64)
    gamma, rho = _number(kernel, "gamma"), _number(decided, "rho")
    return Regression(low, high, np.array(vectors), weights, gamma, rho)


def _number(node: "cv2.FileNode", name: str) -> float:
    return float(node.getNode(name).real())


def _listed(node: "cv2.FileNode") -> list[float]:
    return [float(node.at(i).real()) for i in range(node.size())]


def brisque(planes: Tensor, files: tuple[Path, ...]) -> Tensor:
    """Return the score of each image, float64 (N,): none where an image has one level only.

    Args:
        planes: float32 (N, H, W) from 0 to 255.
        files: Of the model and of its ranges.

    Raises:
        WeightsMismatchError: If a file is not of the published form.

    References:
        Mittal et al., No-reference image quality assessment in the spatial domain, 2012.
    """
    regression = read_regression(*files)
    found = regression.score(np.stack([features(p) for p in planes.double().cpu().numpy()]))
    return torch.from_numpy(found).to(planes.device)


def features(plane: Float64Array) -> Float64Array:
    """Return the 36 statistics of a plane (H, W) from 0 to 255; not numbers where it is flat."""
    plane = np.rint(plane)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.concatenate([_at_scale(plane), _at_scale(_smaller(plane))])


def _smaller(plane: Float64Array) -> Float64Array:
    """Return half the size by the cubic filter (a = -1/2) stretched to eight pixels, as MATLAB."""
    near, far = np.array([0.25, 0.75]), np.array([1.25, 1.75])
    cubic = np.concatenate(
        [1.5 * near**3 - 2.5 * near**2 + 1, -0.5 * far**3 + 2.5 * far**2 - 4 * far + 2]
    )
    taps = np.concatenate([cubic[::-1], cubic])
    taps /= taps.sum()
    height, width = (side // 2 * 2 for side in plane.shape)
    wide = np.pad(plane[:height, :width], 4, mode="symmetric")
    slid = cv2.sepFilter2D(wide, cv2.CV_64F, taps, taps)  # the anchor is the fifth of eight
    found: Float64Array = slid[5 : 5 + height : 2, 5 : 5 + width : 2]
    return found


def _at_scale(plane: Float64Array) -> Float64Array:
    around = cv2.BORDER_REPLICATE
    mean = cv2.sepFilter2D(plane, cv2.CV_64F, WINDOW, WINDOW, borderType=around)
    square = cv2.sepFilter2D(plane * plane, cv2.CV_64F, WINDOW, WINDOW, borderType=around)
    normal = (plane - mean) / (np.sqrt(np.abs(square - mean**2)) + 1)
    variance = (normal**2).mean()
    found = [_nearest(np.abs(normal).mean() ** 2 / variance, reciprocal=True), variance]
    for shift in SHIFTS:
        product = normal * np.roll(normal, shift, axis=(0, 1))
        left = np.sqrt((product[product < 0] ** 2).mean() if (product < 0).any() else np.nan)
        right = np.sqrt((product[product > 0] ** 2).mean() if (product > 0).any() else np.nan)
        ratio = left / right
        observed = np.abs(product).mean() ** 2 / (product**2).mean()
        shape = _nearest(observed * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2)
        scale = _ratio_of_gammas(shape)
        found += [shape, (right - left) * scale, left**2, right**2]
    return np.array(found)


def _ratio_of_gammas(shape: float) -> float:
    if np.isnan(shape):
        return shape
    one, two, three = (gamma_function(k / shape) for k in (1, 2, 3))
    return float(two / np.sqrt(one * three))


def _nearest(observed: float, *, reciprocal: bool = False) -> float:
    """Return the shape whose E|x|² / E x², or the reciprocal of it, lies nearest."""
    if not np.isfinite(observed) or observed == 0:
        return float("nan")
    table, value = (1 / ratios(), 1 / observed) if reciprocal else (ratios(), observed)
    return float(SHAPES[np.abs(table - value).argmin()])
