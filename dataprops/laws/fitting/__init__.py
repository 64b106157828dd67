"""Fit the laws to a table of trained networks, and validate them on held-out datasets.

    table -> points (`table.py`) -> a design for each law (`LAWS`, `laws.py`) -> slopes, intercepts, left-out errors (`lines.py`)
          -> intervals over whole datasets (`resampling.py`) -> sentences (`words.py`) -> the results of a fit (`fit.py`)

Each law of the paper is a row of `LAWS`: target, terms, and theoretical slopes. It is fitted with free slopes and, if theory
gives them, with fixed slopes; the constants depend on the family of networks, so each family has its own intercept.

Laws are evaluated by their leave-one-dataset-out error, against two baselines on the same rows: the mean, and log N alone, each
also with one intercept per family. `fit.fit_laws` returns all results as one plain dictionary.

`forms.py` and `sources.py` compare further predictors of networks by leave-one-source-out error.
"""
