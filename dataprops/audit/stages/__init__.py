"""The stages of an audit, one module each: each reads files of the run, calls the library, writes files, returns a small record.

    scan -> decode -> distances -> measure -> probe -> find -> check -> report

`composition.STAGES` has them in their order; they know neither Prefect nor Dask, only `Tools`. A stage's files
(`workspace.Workspace`) are whole or absent, and what is expensive (shards, passes) is addressed by content: a stage that runs
again does only what is missing.
"""
