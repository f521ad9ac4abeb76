"""Ways to adapt answers to the images of a split while it is evaluated, without a label."""

from .base import Answered, Online
from .chosen import METHODS, chosen
from .lame import Lame
from .nuisance import Nuisance
from .priors import Prior
from .t3a import T3A
from .tda import TDA
from .transport import Transport

__all__ = [
    "METHODS",
    "T3A",
    "TDA",
    "Answered",
    "Lame",
    "Nuisance",
    "Online",
    "Prior",
    "Transport",
    "chosen",
]
