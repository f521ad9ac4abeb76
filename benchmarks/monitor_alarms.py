"""False alarms of the default monitor on sites of several designs, for every detector.

    python -m benchmarks monitor_alarms [sites]

Each site has a reference of its own, from which the limit of each detector is set; then clean
streams of the same site, which it never saw, are watched from their first day on, windows empty.
What is asked for is one false alarm in 60 days on the average over sites. Printed: 1 over the mean
rate of sites, and two standard errors over sites.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medrobust.metrics.drift.detectors import DETECTORS, detector_of
from medrobust.metrics.drift.run_length import alarm_rates, limit_over_references
from medrobust.monitor.streams import fit_digester
from medrobust.monitor.studies import DAY, Studies
from medrobust.monitor.windows import Settings, clean_series, daily_sums, window_statistics

BUDGET, WATCHED, STREAMS = 60, 480, 8
WIDTH = 4
"""Numbers of an embedding."""


@dataclass(frozen=True)
class Design:
    """How studies of a site come about.

    Attributes:
        days: Of the reference.
        window: Days.
        images: Of a patient, who is the same in them by half.
        uneven: Days and weeks have effects of their own.
        skewed: Numbers are skewed and partly missing, and weekends have fewer studies.
    """

    days: int
    window: int = 7
    images: int = 1
    uneven: bool = False
    skewed: bool = False

    def drawn(self, days: int, rng: np.random.Generator) -> Studies:
        """Draw clean studies of so many days."""
        week = [26] * 5 + [8] * 2
        numbers = rng.poisson(np.resize(week, days)) if self.skewed else np.full(days, 21)
        day = np.repeat(np.arange(days), numbers)
        count = len(day)
        patient = np.arange(count) // self.images
        own = rng.gamma(1.0, size=(count, WIDTH)) if self.skewed else rng.normal(
            size=(count, WIDTH)
        )  # fmt: skip
        if self.images > 1:
            own = np.sqrt(0.5) * (own + rng.normal(size=(count, WIDTH))[patient])
        age = rng.normal(60, 10, count)[patient]
        if self.uneven:
            own += 0.15 * rng.normal(size=(days, WIDTH))[day]
            own += 0.1 * rng.normal(size=(days // 7 + 1, WIDTH))[day // 7]
            age += 1.5 * rng.normal(size=days)[day]
        if self.skewed:
            age = np.where(rng.random(count) < 0.1, np.nan, np.exp(rng.normal(size=count)))
        return Studies(
            ids=np.arange(count).astype(np.str_),
            times=day * DAY,
            patients=patient.astype(np.str_),
            numbers={"age": age},
            categories={"view": rng.choice(["PA", "AP", "LL"], count, p=[0.6, 0.3, 0.1])},
            vectors={"embedding": own.astype(np.float32)},
        )


DESIGNS = {
    "independent studies, 420 days": Design(420),
    "independent studies, 119 days": Design(119),
    "patients with three images, 119 days": Design(119, images=3),
    "days and weeks that differ, 182 days": Design(182, uneven=True),
    "skewed, weekdays, missing values, 182 days": Design(182, skewed=True),
    "windows of 14 days, 182 days": Design(182, window=14),
    "patients, days, windows of 14, 182 days": Design(182, window=14, images=3, uneven=True),
}


def rates(design: Design, rng: np.random.Generator, seed: int) -> list[float]:
    """Return the false alarms a day of each detector at one site."""
    settings = Settings(window=design.window, budget=BUDGET, seed=seed)
    reference = design.drawn(design.days, rng)
    digester, rows = fit_digester(reference)
    columns = [digester.column(name) for name in DETECTORS]
    own, clean = clean_series(
        digester, rows, reference.days, reference.patient_codes, settings, columns=columns
    )
    known = (rows.sum(axis=0, dtype=np.float64), float(len(rows)))
    fresh = []
    for _ in range(STREAMS):
        studies = design.drawn(WATCHED, rng)
        sums, counts = daily_sums(digester.digest(studies), studies.days, 0, WATCHED)
        statistics = window_statistics(digester, sums, counts, known, settings)
        fresh.append(own.z(statistics))
    z = np.stack(fresh, axis=1)[:, None]
    found = []
    for name, column, series in zip(DETECTORS, columns, clean, strict=True):
        limit = limit_over_references(detector_of(name).path(series), BUDGET).value
        watched = own.unified(z, column)
        highest = np.maximum.accumulate(detector_of(name).path(watched), axis=0)
        found.append(float(alarm_rates(highest, limit)[0][0]))
    return found


def main(arguments: Sequence[str] = ()) -> int:
    """Print a row of the table for each design."""
    sites = int(arguments[0]) if arguments else 24
    print("| site, reference |", " | ".join(DETECTORS), "|", flush=True)
    for place, (name, design) in enumerate(DESIGNS.items()):
        rng = np.random.default_rng([2, place])
        found = np.array([rates(design, rng, seed) for seed in range(sites)])
        mean, error = found.mean(axis=0), 2 * found.std(axis=0, ddof=1) / np.sqrt(sites)
        cells = [
            f"{1 / m:.0f} [{1 / (m + e):.0f}, {1 / max(m - e, 1e-9):.0f}]"
            for m, e in zip(mean, error, strict=True)
        ]
        print(f"| {name} |", " | ".join(cells), "|", flush=True)
    return 0


if __name__ == "__main__":
    main()
