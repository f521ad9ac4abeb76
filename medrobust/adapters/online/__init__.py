"""Ways to adapt answers to the images of a split while it is evaluated, without a label."""

from .adapting import Adapting, Scene, Session
from .base import Answered, FromAnswers, Online
from .batch_norm import AdaBN, AlphaBN, EmaBN
from .chosen import METHODS, chosen
from .entropy import Eata, Eta, Sar, Tent
from .lame import Lame
from .memo import TPT, Memo
from .norm_swap import NormSwap
from .nuisance import Nuisance
from .paired import BatClip, ClipArtt, Watt
from .priors import Prior
from .t3a import T3A
from .tda import TDA
from .teachers import Cotta, Rotta
from .transport import Transport
from .views import MTA, Zero

__all__ = [
    "METHODS",
    "MTA",
    "T3A",
    "TDA",
    "TPT",
    "AdaBN",
    "Adapting",
    "AlphaBN",
    "Answered",
    "BatClip",
    "ClipArtt",
    "Cotta",
    "Eata",
    "EmaBN",
    "Eta",
    "FromAnswers",
    "Lame",
    "Memo",
    "NormSwap",
    "Nuisance",
    "Online",
    "Prior",
    "Rotta",
    "Sar",
    "Scene",
    "Session",
    "Tent",
    "Transport",
    "Watt",
    "Zero",
    "chosen",
]
