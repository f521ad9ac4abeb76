"""What is said where an adapter and a recipe do not go together: of names, and of built objects."""

from medrobust.exceptions import ConfigurationError


def to_be_tuned(adapter: str) -> ConfigurationError:
    """Say what an adapter needs that has to be tuned first."""
    return ConfigurationError(
        f"adapter={adapter} has to be tuned first: add tuning=few_shot, or give a tuned one by "
        f"adapter=path adapter.path=FOLDER."
    )


def not_tunable(adapter: str) -> ConfigurationError:
    """Say that there is nothing in an adapter that a recipe could tune."""
    return ConfigurationError(
        f"tuning=few_shot tunes an adapter, and adapter={adapter} is none that can be tuned. Add "
        f"adapter=lora, norm, full, linear_probe, knn or prototypes."
    )
