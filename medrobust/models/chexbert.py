"""CheXbert: fourteen findings of a chest report, by a BERT with a small classifier each.

Source of layout, order and classes: the code of stanfordmlgroup/CheXbert (`src/label.py`,
`src/models/bert_labeler.py`). Its weights are for research and no other use.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from medrobust.exceptions import WeightsNotFoundError

from .hub import either, hashes
from .loading import POSITION_IDS, load_strict, read_checkpoint
from .tokenizer import read_tokenizer

FINDINGS = (
    *("Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema"),
    *("Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion"),
    *("Pleural Other", "Fracture", "Support Devices", "No Finding"),
)
"""In the order of the classifiers."""

POSITIVE, UNCERTAIN = 1, 3
"""Two of the classes of a finding; 0 is one that is not spoken of, 2 one that is denied."""

WEIGHTS, WORDS = "chexbert.pth", "vocab.txt"
CONTEXT = 512
AT_ONCE = 32
SIZES = {"vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 12}
SIZES |= {"num_attention_heads": 12, "intermediate_size": 3072, "max_position_embeddings": 512}
"""Of BERT base."""

Uncertain: TypeAlias = Literal["negative", "positive"]


class _Labeler(nn.Module):
    """The BERT and its classifiers under the names of CheXbert."""

    def __init__(self) -> None:
        from transformers import BertConfig, BertModel

        super().__init__()
        config = BertConfig(**SIZES)
        with torch.device("meta"):
            self.bert = BertModel(config, add_pooling_layer=False)
            self.linear_heads = nn.ModuleList(
                nn.Linear(config.hidden_size, 2 if name == FINDINGS[-1] else 4) for name in FINDINGS
            )

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the class of each finding, int64 (K, 14)."""
        first = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0]
        return torch.stack([head(first).argmax(dim=1) for head in self.linear_heads], dim=1)


class Chexbert:
    """Reads findings in reports.

    Args:
        folder: Holds `chexbert.pth` (or `chexbert.safetensors`) and the `vocab.txt` of
            bert-base-uncased.

    Attributes:
        files: File name -> SHA-256.

    Raises:
        WeightsNotFoundError: If one is missing.
        WeightsMismatchError: If they do not fit.
    """

    def __init__(self, folder: Path) -> None:
        names = (either(WEIGHTS), (WORDS,))
        found = [next((folder / n for n in each if (folder / n).is_file()), None) for each in names]
        weights, words = found
        if weights is None or words is None:
            raise WeightsNotFoundError(
                f"CheXbert: {' and '.join((WEIGHTS, WORDS))} are needed in the folder "
                f"{str(folder)!r}: the checkpoint that the README of stanfordmlgroup/CheXbert "
                f"links, and the vocabulary of bert-base-uncased."
            )
        self.files = hashes({path.name: path for path in (weights, words)})
        self._labeler = _Labeler()
        load_strict(
            self._labeler,
            read_checkpoint(weights, entry="model_state_dict"),
            file=weights.name,
            drops={
                **POSITION_IDS,
                r"bert\.pooler\..*": "the pooler of the BERT, which is not read",
            },
        )
        self._labeler.eval()
        self._tokenize = read_tokenizer(words, CONTEXT, "[PAD]", SIZES["vocab_size"])

    @torch.no_grad()
    def classes(self, reports: Sequence[str]) -> Tensor:
        """Return the class of each finding, int64 (K, 14): 0 blank, 1, 2 no, 3 uncertain.

        A report is read as far as 512 tokens go.
        """
        plain = [" ".join(report.split()) for report in reports]
        parts = [
            self._labeler(*self._tokenize(plain[start : start + AT_ONCE]))
            for start in range(0, len(plain), AT_ONCE)
        ]
        return torch.cat(parts)

    def findings(self, reports: Sequence[str], uncertain: Uncertain) -> list[frozenset[str]]:
        """Return what each report asserts.

        Args:
            reports: K of them.
            uncertain: What becomes of findings that may be there.
        """
        counted = (POSITIVE, UNCERTAIN) if uncertain == "positive" else (POSITIVE,)
        return [
            frozenset(n for n, found in zip(FINDINGS, row, strict=True) if found in counted)
            for row in self.classes(reports).tolist()
        ]
