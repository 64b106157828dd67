"""Prefect tasks and Dask: how the library's stages run in production.

`stages` wraps each stage of `dataprops.audit.stages` as one Prefect task; `cluster` opens the Dask cluster; `parallel` runs a
stage's work on it as plain Dask futures; `progress` reports progress on the terminal and in the Prefect UI.
"""
