"""Ways to adapt answers to the images of a split while it is evaluated, without a label."""

from .adapting import Adapting, Scene, Session
from .base import Answered, FromAnswers, Online
from .batch_norm import AdaBN, AlphaBN, EmaBN
from .chosen import METHODS, chosen
from .entropy import Eata, Eta, Sar, Tent
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
    "AdaBN",
    "Adapting",
    "AlphaBN",
    "Answered",
    "Eata",
    "EmaBN",
    "Eta",
    "FromAnswers",
    "Lame",
    "Nuisance",
    "Online",
    "Prior",
    "Sar",
    "Scene",
    "Session",
    "Tent",
    "Transport",
    "chosen",
]
