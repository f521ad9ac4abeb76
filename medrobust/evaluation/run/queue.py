"""What is left to encode of one data set: waiting here, begun, or another process's."""

from collections.abc import Sequence

from medrobust.evaluation.locks import Claims
from medrobust.evaluation.plan import DatasetPlan
from medrobust.evaluation.ranks import Ranks

from .encoding import Encoding
from .finished import FinishedCells


class EncodingQueue:
    """The encodings of one data set that are not finished, in plan order.

    One process claims an encoding when it begins with it. Several processes that share each cell
    agree on what all of them encode before they begin; the first of them decides.

    Args:
        plan: The cells of the data set.
        finished: What the store has of them.
        claims: Of this process, on that store.
        ranks: Its place among the processes that share each cell.

    Attributes:
        waiting: What is to be encoded here; what is begun is among it until it is done.
        refused: What processes of other jobs compute.
    """

    def __init__(
        self, plan: DatasetPlan, finished: FinishedCells, claims: Claims, ranks: Ranks
    ) -> None:
        self.plan = plan
        self.waiting: list[Encoding] = []
        self.refused: list[Encoding] = []
        self._finished = finished
        self._claims = claims
        self._ranks = ranks
        self._begun: list[Encoding] = []
        self._last: Encoding | None = None

    def fill(self) -> list[Encoding]:
        """Queue what has to be encoded; return what is missing and has its features kept."""
        missing = self._finished.missing(self.plan) if self._ranks.rank == 0 else []
        kept = [
            one
            for one in missing
            if self._finished.has_features(one.fingerprint) and not one.patch_heads
        ]
        self._wait_with([one for one in missing if one not in kept])
        return kept

    def refill(self) -> None:
        """Queue what others were to compute, and have not finished."""
        self._wait_with(self._finished.still_missing(self.refused))

    def _wait_with(self, encodings: Sequence[Encoding]) -> None:
        self.waiting, self.refused = list(encodings), []
        if self._ranks.world > 1:
            self._agree_on(encodings)
        self._last = self.waiting[-1] if self.waiting else None

    def _agree_on(self, encodings: Sequence[Encoding]) -> None:
        ours = [encoding for encoding in encodings if self._claim(encoding)]
        self.refused = [encoding for encoding in encodings if encoding not in ours]
        agreed = self._ranks.agree([encoding.fingerprint for encoding in ours])
        if self._ranks.rank != 0:
            cells = {cell.passed_as: cell for cell in self.plan.cells}
            heads = self._finished.patch_heads(self.plan)
            ours = [
                Encoding(self.plan.image_set, cells[encoding], tuple(heads.get(encoding, ())))
                for encoding in agreed
            ]
        self.waiting = ours

    def _claim(self, encoding: Encoding) -> bool:
        """Claim an encoding that is not finished, and that nobody else computes."""
        if not self._claims.take(encoding.fingerprint):
            return False
        if self._finished.has_all(encoding):
            self._claims.drop(encoding.fingerprint)
            return False
        return True

    def anything_to_begin(self) -> bool:
        """Say whether anything waits that can be claimed; what was begun is to be begun anew."""
        self._begun = []
        while self.waiting:
            if self._ranks.world > 1 or self._claim(self.waiting[0]):
                return True
            self.refused.append(self.waiting.pop(0))
        return False

    def begin(self, encoding: Encoding) -> bool:
        """Begin with an encoding that waits, unless another process has or computes it."""
        if self._ranks.world == 1 and not self._claim(encoding):
            self.waiting.remove(encoding)
            self.refused.append(encoding)
            return False
        self._begun.append(encoding)
        return True

    def has_begun(self, encoding: Encoding) -> bool:
        """Say whether an encoding was begun here, and is not done."""
        return encoding in self._begun

    def done(self, encoding: Encoding) -> None:
        """Take out what is encoded; its claim is kept until it is written."""
        self._begun.remove(encoding)
        self.waiting.remove(encoding)

    def give_up(self) -> Encoding:
        """Let others have what an error has stopped: what was begun first, or would have been next.

        An error that comes out when all is encoded counts for the last one.
        """
        stopped = next(iter((*self._begun, *self.waiting)), self._last)
        assert stopped is not None
        if stopped in self.waiting:
            self.waiting.remove(stopped)
        self._claims.drop(stopped.fingerprint)
        return stopped
