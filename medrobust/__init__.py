"""How medical vision-language models behave when images get worse, and how to repair it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medrobust.jobs.notebook import evaluate

__version__ = "0.2.0.dev0"

__all__ = ["evaluate"]


def __getattr__(name: str) -> Any:
    """Import `evaluate` when it is first used: torch takes seconds, the command line may not.

    What libraries set for the whole process while they are imported is put back.
    """
    if name == "evaluate":
        from medrobust.base.collector import collector_at_rest

        with collector_at_rest():
            from medrobust.base.matplotlib_backend import import_matplotlib
            from medrobust.base.process_state import left_as_found

            with left_as_found(finish_wandb=False):
                import_matplotlib()  # torchmetrics would
                from medrobust.jobs.notebook import evaluate

        return evaluate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
