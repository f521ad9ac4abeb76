"""What numbers that a caller states must be: a sentence where they are not."""

from medrobust.exceptions import ConfigurationError


def check_share(name: str, value: float, *, ends: str = "") -> None:
    """Refuse a stated share that is none; NaN is none.

    Args:
        name: What the caller calls it.
        value: The number.
        ends: Which of "0" and "1" it may be itself, such as "01"; without any it lies between them.

    Raises:
        ConfigurationError: Naming it.

    Example:
        >>> check_share("coverage", 1.0, ends="1")
        >>> check_share("alpha", 5)
        Traceback (most recent call last):
        medrobust.exceptions.ConfigurationError: alpha=5 must lie between 0 and 1.
    """
    if 0 < value < 1 or (value in (0, 1) and str(int(value)) in ends):
        return
    also = {"": "", "0": ", or be 0", "1": ", or be 1"}.get(ends, ", or be one of them")
    raise ConfigurationError(f"{name}={value} must lie between 0 and 1{also}.")
