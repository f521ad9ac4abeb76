"""What the bench lets happen to a stream, from the cells of a store.

Every corruption that the store holds of a row, other sites, values of the metadata (views,
scanners), a shift of the classes, and studies that are hard.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from medrobust.base.wording import counted
from medrobust.datasets.own.table import few
from medrobust.evaluation.store import Store, StoredCell
from medrobust.exceptions import ConfigurationError
from medrobust.types import Float32Array, Float64Array

from .bench import Bench, Change, Noticed, Site
from .stored import Choice, quality_of, studies_of_cell
from .streams import fit_digester
from .studies import Studies

FEWEST = 30
"""Images that a view or scanner, and all others, must have."""


def bench_store(
    store: Store,
    clean: StoredCell,
    bench: Bench,
    others: Sequence[StoredCell] = (),
    turns: Sequence[tuple[str, str]] = (),
) -> Iterator[Noticed]:
    """Simulate every corruption of a row that the store holds, label shift and hard studies.

    Args:
        store: Features count where they were kept for clean and corrupted cells.
        clean: The clean cell of a row.
        bench: What is simulated.
        others: Clean cells of other sites under the same model, which the stream turns into.
        turns: Columns of metadata and values, such as ("view", "lateral"): the site has none of
            these images until its stream turns into them.

    Raises:
        ConfigurationError: If no corrupted cell belongs to the row, or features were not kept.
    """
    cells = corrupted_cells(store, clean)
    if not cells and not others and not turns:
        raise ConfigurationError(
            f"{store.root} holds no corrupted cell beside {clean.spec}: run corruptions first."
        )
    choice = Choice(per_day=1)
    every = [*cells, *others]
    names = {tuple(sorted(quality_of(store, cell))) for cell in (clean, *every)}
    measured = len(names) == 1 and names != {()}
    studies = studies_of_cell(store, clean, choice, quality=measured)
    kept = [store.has_features(str(cell.record["encoding_fingerprint"])) for cell in every]
    if "embedding" in studies.vectors and not all(kept):
        raise ConfigurationError(
            f"features of {counted(len(kept) - sum(kept), 'cell')} were not kept: run again "
            f"with store.features=true resume=false."
        )
    for column, value in turns:
        yield from _turned(clean, studies, bench, column, value)
    digester, _ = fit_digester(studies)
    rows, right = digester.digest(studies), _right(clean)
    site = Site(rows, right, digester, bench, clean.fingerprint)
    changes = [*_other_changes(clean, rows, right)]
    for prevalence in bench.prevalences:
        for change in changes:
            yield from site.notice(change, prevalence)
    for cell in every:
        other = digester.digest(studies_of_cell(store, cell, choice, quality=measured))
        name = cell.spec.corruption if cell.spec.severity else f"site {cell.spec.dataset}"
        change = Change(name, cell.spec.severity, other, _right(cell))
        for prevalence in bench.prevalences:
            yield from site.notice(change, prevalence)


def _turned(
    clean: StoredCell, studies: Studies, bench: Bench, column: str, value: str
) -> Iterator[Noticed]:
    """Let a site without the images of one value, a view or a scanner, turn into them.

    Raises:
        ConfigurationError: If the store has no such column, or too few images on either side.
    """
    names = list(clean.data.metadata_columns)
    if clean.data.metadata is None or column not in names:
        raise ConfigurationError(
            f"{clean.spec.dataset} has no metadata column {column!r}; it has: "
            f"{few(names) or 'none'}. Name one as --turn COLUMN=VALUE."
        )
    values = clean.data.metadata[:, names.index(column)]
    turned = values == value
    if min(turned.sum(), (~turned).sum()) < FEWEST:
        raise ConfigurationError(
            f"{counted(int(turned.sum()), 'image')} of {len(turned)} have {column}={value}; "
            f"{FEWEST} are needed of them and of others. There are: {few(dict.fromkeys(values))}."
        )
    digester, rows = fit_digester(studies.rows(~turned))
    right = _right(clean)
    site = Site(rows, right[~turned], digester, bench, f"{clean.fingerprint}/{column}={value}")
    change = Change(f"{column}={value}", 0, digester.digest(studies.rows(turned)), right[turned])
    for prevalence in bench.prevalences:
        yield from site.notice(change, prevalence)


def corrupted_cells(store: Store, clean: StoredCell) -> list[StoredCell]:
    """Return the corrupted cells of the same row and images, one a corruption and severity."""
    from medrobust.reporting.measure import variant

    spec = clean.spec
    found: dict[tuple[str, int], StoredCell] = {}
    pattern = f"{clean.folder.parts[-4]}/{clean.folder.parts[-3]}/*/s[1-9]-*"
    for cell in store.readable(sorted((store.root / "cells").glob(pattern))):
        same = cell.data.fingerprint == clean.data.fingerprint and cell.spec.split == spec.split
        if same and variant(cell) == variant(clean):
            found.setdefault((cell.spec.corruption, cell.spec.severity), cell)
    return [found[place] for place in sorted(found)]


def _right(cell: StoredCell) -> Float64Array:
    if cell.data.labels.ndim != 1:
        raise ConfigurationError("the bench is for one label an image: accuracy must be defined.")
    found: Float64Array = (cell.arrays["logits"].argmax(axis=1) == cell.data.labels).astype(float)
    return found


def _other_changes(clean: StoredCell, rows: Float32Array, right: Float64Array) -> Iterator[Change]:
    """Yield what may change beside images: shares of classes, and studies that are hard.

    "hard studies" are the quarter whose own class scores worst (CheXstray's bad-sample stream);
    "label shift" doubles the odds of every second class.
    """
    labels, logits = clean.data.labels, clean.arrays["logits"].astype(float)
    own = logits[np.arange(len(labels)), labels]
    rest = logits.copy()
    rest[np.arange(len(labels)), labels] = -np.inf
    margin = own - rest.max(axis=1)
    hard = (margin <= np.quantile(margin, 0.25)).astype(float)
    yield Change("hard studies", 0, rows, right, hard)
    yield Change("label shift", 0, rows, right, np.where(labels % 2 == 0, 2.0, 1.0))
