"""Tables of the store: Parquet files with the schema version in their metadata."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dataprops.util.files import write_aside

if TYPE_CHECKING:  # a command opens its store first, and starts the Prefect server before pandas is imported
    import pandas as pd

SCHEMA = 3  # of the store and its tables; `migrations` has the steps between two


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a Parquet file with the schema version in its metadata, aside, then rename."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    # attributes of a frame are for the running process: Parquet metadata that pandas would choke on otherwise
    arrow = pa.Table.from_pandas(pd.DataFrame(table.to_dict("series")), preserve_index=False)
    arrow = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), b"dataprops.schema": str(SCHEMA).encode()})
    write_aside(path, lambda aside: pq.write_table(arrow, aside, compression="zstd"))
