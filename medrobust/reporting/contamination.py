"""Which training data hold pictures of which data sets: facts, for flags of contamination.

Names on the left are those of `trained_on` in conf/model. Sources: NIH ChestX-ray14 is what
ChestMNIST (arXiv:2110.14795) and MedIMeta's `cxr` (arXiv:2404.16000) were made from, RFMiD what
MedIMeta's `fundus` was; RobustMedCLIP (arXiv:2505.15425) tuned on the validation splits of five
sets of MedMNIST and seven of MedIMeta, some of which split the pictures of others differently.
Collections scraped from articles or the web are not listed: what they hold cannot be looked up.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

HOLDS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "nih_chestxray14": frozenset({"chestmnist", "cxr"}),
        "rfmid": frozenset({"fundus"}),
        "medmnist_val": frozenset(
            {"bloodmnist", "breastmnist", "octmnist", "pneumoniamnist", "retinamnist"}
            | {"pbc", "bus", "oct", "pneumonia", "dr_regular"}
        ),
        "medimeta_val": frozenset(
            {"aml", "fundus", "mammo_calc", "mammo_mass", "pneumonia", "oct", "pbc"}
            | {"bloodmnist", "octmnist", "pneumoniamnist"}
        ),
    }
)
"""Training data -> data sets that hold pictures of the same source."""


def seen(dataset: str, trained_on: Iterable[str]) -> tuple[str, ...]:
    """Return the training data that hold pictures of a data set, or are that set by its own name.

    Example:
        >>> seen("chestmnist", ["mimic_cxr", "nih_chestxray14"]), seen("ward", ["ward"])
        (('nih_chestxray14',), ('ward',))
    """
    return tuple(name for name in trained_on if name == dataset or dataset in HOLDS.get(name, ()))
