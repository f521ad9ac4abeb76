"""`medrobust check-model model=NAME`: a model is loaded and described."""

from collections.abc import Sequence

from .parsing import add_overrides, as_typed, subcommand_parser

ABOUT = "Load a model and say what it is: keys, size, preprocessing, checksum, speed, memory."

EXAMPLES = (
    "model=biomedclip model.local_dir=WEIGHTS",
    "model=clip_vit_b16 speed=bf16",
    "--config-dir mine model=NAME",
)


def main(arguments: Sequence[str]) -> int:
    """Describe the model that the overrides name, a line a fact."""
    parser = subcommand_parser("check-model", ABOUT, *EXAMPLES)
    add_overrides(parser, "model=...|speed=...", nargs="+")
    given = parser.parse_intermixed_args(list(arguments))
    from medrobust.evaluation.building import built

    from .hydra_app import composed

    config = composed(as_typed(given))
    source, speed = built(config, "model"), built(config, "speed")
    from medrobust.models.inspection import describe

    for line in describe(source, speed):
        print(line)
    return 0
