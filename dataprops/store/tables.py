"""Tables of the store: Parquet files with the schema version in their metadata."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dataprops.util.files import write_aside

if TYPE_CHECKING:  # commands open the store and start the Prefect server before importing pandas
    import pandas as pd

SCHEMA = 3  # version of the store and its tables; see `migrations`


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a Parquet file atomically, with the schema version in its metadata."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    # drop DataFrame.attrs, which pandas would try to serialise into the metadata
    arrow = pa.Table.from_pandas(pd.DataFrame(table.to_dict("series")), preserve_index=False)
    arrow = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), b"dataprops.schema": str(SCHEMA).encode()})
    write_aside(path, lambda aside: pq.write_table(arrow, aside, compression="zstd"))
