"""`license=commercial`: a job with a model or data that do not allow it is refused."""

from collections.abc import Iterator

from medrobust.base.licenses import GRANTED, check_commercial

from .experiment import Experiment
from .resources import Resources
from .run_wide import check_run_wide


def check_licenses(experiment: Experiment, resources: Resources) -> None:
    """Refuse a model or a data set that is not known to allow commercial use, if that is asked for.

    The model is asked first, before its weights are loaded, then what a tuned adapter was made
    from, then the data.

    Raises:
        ConfigurationError: Naming what is refused, its license, and what to do.
    """
    check_run_wide({"license": experiment.license})
    if experiment.license == "any":
        return
    for what, license_, key in _licenses(experiment, resources):
        check_commercial(what, license_, key)


def _licenses(experiment: Experiment, resources: Resources) -> Iterator[tuple[str, str, str]]:
    """Yield what, its license, and how the user states one that is known."""
    license_ = getattr(experiment.model.source, "license", "")
    yield f"model {experiment.model.source.name!r}", str(license_), GRANTED.format("model")
    adapter = experiment.model.adapter
    for what, found in adapter.made_from():
        yield f"{what} of adapter {adapter.name!r}", found, ""
    for source in experiment.data.datasets:
        image_set = resources.image_set(source)
        own = image_set.origin == "own"
        yield (
            f"data set {image_set.name!r}",
            image_set.license,
            GRANTED.format("dataset") + ' ("own" for your own)' if own else "",
        )
