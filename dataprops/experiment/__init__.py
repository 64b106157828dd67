"""Grids of training runs: how the properties of a set affect networks trained on it.

    gather -> describe -> train -> collect

`gather` lists and decodes the images with the stages of the audit; `describe` draws each sample (dataset, N, seed) and measures the
properties of its training images; `train` computes the cells; `collect` writes the table. Everything is stored in

    STORE/experiments/<name>/
      experiment.json               the options
      data/<dataset>.parquet        the readable images of the task's classes; .json: facts of the set
      samples/<dataset>-<N>-<seed>.json   the properties of a sample; .npz: its images
      work/<cell>.*.pt, .json, .layers/   checkpoint and progress of an unfinished cell
      cells/<cell>.json             a finished or failed cell, with everything that has no column in the table
      cells.parquet                 one row per cell

A cell's file is written atomically when the cell is finished, so a killed grid can be resumed; a cell is recomputed if its inputs have
changed. A failed cell is a row with a reason. Invalid options raise before any work.

    sets.py      gather: the datasets
    samples.py   describe: samples and their properties
    cell.py      one cell: training, attacks, representations
    table.py     the columns, the rows as files and as a table
    run.py       the sequence of stages; train, collect

Grids are defined in `experiment.grid`, their options in `experiment.grid_options`.
"""

from __future__ import annotations

from dataprops.experiment.run import check, experiment_tools, run_experiment
from dataprops.experiment.table import COLUMNS, cell_table, load_cells

__all__ = ["COLUMNS", "cell_table", "check", "experiment_tools", "load_cells", "run_experiment"]
