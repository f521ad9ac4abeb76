"""One encoding as the engine asks for it: what is read, corrupted, and handed to the writer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from torch import Tensor

from medrobust.datasets.image_set import ImageSet
from medrobust.engine.passes import Encoded, Images, PatchReader
from medrobust.evaluation.columns import Column
from medrobust.evaluation.ranks import Ranks
from medrobust.models.encoding import ImageEncoder
from medrobust.tasks.patches import PatchHead, TruthHead
from medrobust.types import Int64Array, UInt8Batch

from .encoding import Encoding
from .masks import MovedMasks, TruthReader
from .queue import EncodingQueue
from .writer import CellWriter


@dataclass(frozen=True, slots=True)
class EncodingPass:
    """A `Pass` of the engine over this process's share of a split.

    Attributes:
        encoding: What is encoded.
        queue: Says whether it is still wanted, and hears when it is done.
        writer: Gets what is encoded.
        ranks: Who shares it.
        rows: int64, of the split, that this process encodes.
        show: Positions in `rows` whose corrupted image is kept to be shown.
        seed: Of the corruptions.
        micro_batch: Images a forward pass.
    """

    encoding: Encoding
    queue: EncodingQueue
    writer: CellWriter
    ranks: Ranks
    rows: Int64Array
    show: frozenset[int]
    seed: int
    micro_batch: int

    @property
    def count(self) -> int:
        """Images of this process."""
        return len(self.rows)

    @property
    def column(self) -> Column | None:
        """What the images are under; None for clean."""
        return self.encoding.first.corruption

    @property
    def severity(self) -> int:
        """1 to 5; 0 for clean."""
        return self.encoding.first.key.spec.severity

    @property
    def clean(self) -> bool:
        """Whether it reads the clean images."""
        return self.column is None or self.column.computed

    @property
    def read(self) -> Callable[[], Images]:
        """Opens this process's share of the clean images, or of published corrupted ones."""
        return partial(_opened, self.encoding.image_set, self.column, self.severity, self.rows)

    def wanted(self) -> bool:
        """Begin with it, unless another process has or computes it."""
        return self.queue.begin(self.encoding)

    def corrupt(self, images: UInt8Batch, index: Tensor) -> UInt8Batch:
        """Corrupt what was read, where that is not done already."""
        if self.column is None:
            return images
        return self.column(
            images,
            severity=self.severity,
            seed=self.seed,
            stream=self.encoding.image_set.stream,
            index=index,
        )

    def encoder(self, model: ImageEncoder) -> ImageEncoder:
        """Encode by the model itself."""
        return model

    @property
    def patch_readers(self) -> Mapping[str, PatchReader]:
        """Heads of its cells that read patch features, those that judge them with masks beside."""
        return {name: self._reader(head) for name, head in self.encoding.patch_heads.items()}

    def _reader(self, head: PatchHead) -> PatchReader:
        if not isinstance(head, TruthHead):
            return head
        masks = MovedMasks(self.encoding.image_set, self.column, self.severity, self.seed)
        return TruthReader(head, masks, self.rows)

    def finished(self, encoded: Encoded) -> None:
        """Join the shares of all processes, and let the first of them write the whole."""
        if encoded.failed and self.ranks.world > 1:  # other processes wait for what is lacking
            raise next(iter(encoded.failed.values()))
        whole = self.ranks.join(encoded, len(self.encoding.image_set), self.micro_batch)
        self.queue.done(self.encoding)
        if whole is not None:
            self.writer.write(self.encoding, whole)


def _opened(
    image_set: ImageSet, column: Column | None, severity: int, rows: Int64Array
) -> ImageSet:
    whole = image_set if column is None else column.images(image_set, severity)
    if np.array_equal(rows, np.arange(len(whole))):
        return whole
    return whole.take(rows, fingerprint=whole.fingerprint)
