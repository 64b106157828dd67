"""The stages of an audit, one module each: each reads files of the run, calls the library, writes files, returns a small record.

    scan -> decode -> distances -> measure -> probe -> find -> check -> report

`composition.STAGES` has the order. Stages do not depend on Prefect or Dask, only on `Tools`. Their files (`workspace.Workspace`) are
written atomically, and expensive results (shards, passes) are content-addressed, so a stage that is repeated does only what is
missing.
"""
