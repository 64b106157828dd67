"""Prefect tasks and Dask: the stages of the library as they run in operation.

`stages` wraps each stage of `dataprops.audit.stages` as one Prefect task; `cluster` opens the Dask cluster; `parallel` runs the
pieces of a stage on it as plain Dask futures; `progress` shows how far a stage is, on the terminal and in the Prefect UI.
"""
