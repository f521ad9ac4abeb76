"""What can be refused of a job before torch and Lightning are imported, which take seconds."""

from typing import Any

from medrobust.base.licenses import GRANTED, check_commercial
from medrobust.corruptions.modality import modality_of
from medrobust.evaluation.building import built, check_arguments, resolved
from medrobust.evaluation.config import refuse_tuning_of_nothing, refuse_untuned
from medrobust.evaluation.run_wide import check_run_wide, run_wide
from medrobust.models.hub import refuse_absent


def first_look(config: Any) -> None:
    """Refuse values, keys and files that a job cannot run with, as far as they are quick to see.

    Nothing relies on it: the parts check the same again, and more, when they are built.

    Args:
        config: As composed by Hydra.

    Raises:
        ConfigurationError: If a value is missing or of the wrong kind, a key does not exist, the
            logger refuses what is exported, or a reading what is asked.
        UnknownNameError: If a corruption is not defined for the data.
        DatasetNotFoundError: If a file of the data is not there.
        WeightsNotFoundError: If a folder of weights is not there.
        MedRobustError: As the data set raises it.
    """
    plain = resolved(config)
    refuse_tuning_of_nothing(plain)
    refuse_untuned(plain)
    check_run_wide(run_wide(plain))
    check_arguments(plain)
    built(config, "logger")
    dataset, corruption = built(config, "dataset"), built(config, "corruption")
    sources = getattr(dataset, "members", (dataset,))
    for source in sources:
        corruption.expand(source.suite, modality_of(source))
    model = plain["model"]
    if plain.get("license", "any") != "any" and "license" in model:  # needs no files
        check_commercial(f"model {model['name']!r}", str(model["license"]), GRANTED.format("model"))
    if {"name", "hub_id", "local_dir"} <= model.keys():
        refuse_absent(model["name"], model["hub_id"], model["local_dir"])
    for source in sources:
        if hasattr(source, "check_files"):
            source.check_files()
    if plain.get("readings"):
        built(config, "readings")
