"""Prefect artifact of a finished experiment: its cells as a table."""

from __future__ import annotations

import pandas as pd

from tasks.artifacts import artifact_key

SHOWN = ("dataset", "model", "n_train", "seed", "d_data", "k_f", "train_loss", "test_loss", "test_accuracy")
SHOWN += ("penalty_2", "flip_eps", "d_repr_last", "seconds", "status", "reason")


def publish_cells(cells: pd.DataFrame, name: str) -> None:
    """Create the artifact of an experiment from its table of cells."""
    from prefect.artifacts import create_table_artifact

    rows = [
        {column: f"{value:.5g}" if isinstance(value, float) else value for column, value in row.items()}
        for row in cells[list(SHOWN)].to_dict("records")
    ]
    create_table_artifact(rows, key=artifact_key("cells", name), description=f"Cells of the experiment {name}")
