"""From tables of errors to corruption errors: CE, mCE and relative mCE.

Order of averaging: severities are summed within a corruption, a ratio is formed for each
corruption, ratios are averaged over corruptions, and that over data sets. Ratios are fractions
(1.0 is as good as the reference); tables print them times 100. A ratio whose denominator is zero
or negative says nothing and is None, never infinite.
"""

from collections.abc import Sequence

SMALLEST_DENOMINATOR = 1e-9
"""Errors are shares of N images: a true difference is never this small, rounding is."""


def corruption_error(errors: Sequence[float], reference: Sequence[float]) -> float | None:
    """Return CE_c = sum_s E_{c,s} / sum_s E^ref_{c,s} (arXiv:1903.12261).

    Args:
        errors: Error of the model at each severity.
        reference: Error of the reference model at the same severities.

    Returns:
        The ratio, None where the reference makes no error.

    Raises:
        ValueError: If the two do not have the same number of severities.

    Example:
        >>> corruption_error([0.1, 0.2], [0.2, 0.4])
        0.5
    """
    return _ratio(_total(errors, reference), sum(reference))


def relative_corruption_error(
    errors: Sequence[float], clean: float, reference: Sequence[float], reference_clean: float
) -> float | None:
    """Return sum_s (E_{c,s} - E_clean) / sum_s (E^ref_{c,s} - E^ref_clean) (arXiv:1903.12261).

    Args:
        errors: Error of the model at each severity.
        clean: Error of the model on clean images.
        reference: Error of the reference model at the same severities.
        reference_clean: Error of the reference model on clean images.

    Returns:
        The ratio, None where the reference does not lose by the corruption.

    Raises:
        ValueError: If the two do not have the same number of severities.

    Example:
        >>> relative_corruption_error([0.5, 0.5], 0.25, [0.75, 0.75], 0.25)
        0.5
    """
    loss = _total(errors, reference) - len(errors) * clean
    return _ratio(loss, sum(reference) - len(reference) * reference_clean)


def mean_corruption_error(ratios: Sequence[float | None]) -> tuple[float | None, int]:
    """Return the mean over the corruptions whose ratio is defined, and how many those are.

    Example:
        >>> mean_corruption_error([1.0, None, 0.5])
        (0.75, 2)
    """
    defined = [ratio for ratio in ratios if ratio is not None]
    return (sum(defined) / len(defined) if defined else None), len(defined)


def _total(errors: Sequence[float], reference: Sequence[float]) -> float:
    if len(errors) != len(reference):
        raise ValueError(f"{len(errors)} severities against {len(reference)} of the reference")
    return sum(errors)


def _ratio(numerator: float, denominator: float) -> float | None:
    return numerator / denominator if denominator > SMALLEST_DENOMINATOR else None
