"""The upper tail of the hypergeometric law against scipy's, and what is impossible or certain."""

import numpy as np
import pytest
from scipy.stats import hypergeom

from dataprops.util.chance import as_many


@pytest.mark.parametrize("population", [5, 40, 1_000, 70_000, 1_000_000])
def test_the_tail_is_scipys(population):
    rng = np.random.default_rng(population)
    for marked, drawn in rng.integers(0, population + 1, (100, 2)):
        expected = marked * drawn / population
        hits = int(np.clip(expected + 3 * rng.normal() * (expected + 1) ** 0.5, 0, min(marked, drawn) + 1))
        there = hypergeom.sf(hits - 1, population, marked, drawn)
        assert as_many(hits, population, int(marked), int(drawn)) == pytest.approx(there, rel=1e-8, abs=1e-300)


@pytest.mark.parametrize(
    ("asked", "chance"),
    [((0, 10, 3, 4), 1.0), ((4, 10, 3, 5), 0.0), ((2, 4, 3, 3), 1.0), ((3, 4, 3, 3), 0.25), ((1, 4, 0, 2), 0.0)],
)
def test_what_is_certain_impossible_or_counted_by_hand(asked, chance):
    assert as_many(*asked) == pytest.approx(chance, abs=1e-12)
