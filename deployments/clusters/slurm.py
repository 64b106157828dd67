"""Audit on Slurm: `python slurm.py JOBS STORE SOURCE [OPTION]...`, on a node that sees the store, as the jobs do.

Needs dask-jobqueue and the configuration beside this file. The scheduler runs in this process; the jobs are its workers.
"""

from __future__ import annotations

import subprocess
import sys


def main(jobs: int, store: str, source: str, *options: str) -> int:
    """Start the jobs, audit on them, give them back; returns the exit code of the audit."""
    from dask_jobqueue import SLURMCluster  # pyright: ignore[reportMissingImports]

    with SLURMCluster() as cluster:
        cluster.scale(jobs=jobs)
        return subprocess.call(
            ["dataprops", "audit", source, "--store", store, "--cluster", cluster.scheduler_address, *options]
        )


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), *sys.argv[2:]))
