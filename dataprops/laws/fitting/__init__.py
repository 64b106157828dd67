"""Fit the laws to a table of trained networks, and validate them on held-out datasets.

    table -> points (`table.py`) -> a design for each law (`LAWS`, `laws.py`) -> slopes, intercepts, left-out errors (`lines.py`)
          -> intervals over whole datasets (`resampling.py`) -> sentences (`words.py`) -> what is told of a fit (`fit.py`)

Each law of the paper is a row of `LAWS`: what it predicts, from what, with which slopes in theory. It is fitted with slopes
free and, where the theory names them, fixed; the constants belong to a family of networks, so each has its own intercept.

The honest measure is the error on a dataset that the fit has not seen: one dataset at a time is left out. Two baselines
that any law must beat are measured the same way on the same rows: the mean, and log N alone, each with one intercept for
each family as well. `fit.fit_laws` gives all of it as one plain dictionary.

Beside the laws: what predicts the networks of sources left out (`forms.py`, `sources.py`).
"""
