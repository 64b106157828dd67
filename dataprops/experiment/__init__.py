"""Grids of trainings: what the properties of a set do to a network, cell by cell.

    gather -> describe -> train -> collect

`gather` lists and decodes the images with the stages of the audit; `describe` draws each sample (dataset, N, seed) and measures the
properties of exactly its training images; `train` computes the cells; `collect` writes the table. Everything lies in

    STORE/experiments/<name>/
      experiment.json               what was asked for
      data/<dataset>.parquet        the readable images of the task's classes; .json: facts of the set
      samples/<dataset>-<N>-<seed>.json   the properties of a sample; .npz: its images
      work/<cell>.*.pt, .json, .layers/   checkpoint and progress of an unfinished cell
      cells/<cell>.json             a finished or failed cell, with all that the table has no column for
      cells.parquet                 one row for each cell

A cell's file appears by a rename when the cell is finished, so a killed grid goes on where it stood; a cell is computed again if
what it was made from has changed. A cell that fails is a row with a reason. What the caller got wrong stops before any work.

    sets.py      gather: the datasets
    samples.py   describe: samples and their properties
    cell.py      one cell: training, attacks, representations
    table.py     the columns, the rows as files and as a table
    run.py       the stages in their order; train, collect

What a grid is says `experiment.grid`; how it is asked for, `experiment.grid_options`.
"""

from __future__ import annotations

from dataprops.experiment.run import check, experiment_tools, run_experiment
from dataprops.experiment.table import COLUMNS, cell_table, load_cells

__all__ = ["COLUMNS", "cell_table", "check", "experiment_tools", "load_cells", "run_experiment"]
