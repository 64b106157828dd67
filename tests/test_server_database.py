"""The script of the temporary server's database is what Prefect's own migrations make.

`python -m tests.test_server_database REVISION` writes `flows/prefect_database.sql` anew, by the migrations of the installed Prefect up
to a revision; `flows.server.DATABASE_REVISION` names it. Take the last one of the oldest version that pyproject.toml allows.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from flows import server
from tests.prefect_server import ROOT

MIGRATE = """
import asyncio, sys
from anyio import to_thread
from prefect.server.database.alembic_commands import alembic_upgrade

async def upgrade():
    await to_thread.run_sync(alembic_upgrade, sys.argv[1])

asyncio.run(upgrade())
"""


def migrate(home: Path, revision: str = "head") -> Path:
    """The database of a Prefect home, brought to a revision by Prefect."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    subprocess.run(
        [sys.executable, "-c", MIGRATE, revision], env={**environment, "PREFECT_HOME": str(home)}, check=True, cwd=home
    )
    return home / "prefect.db"


def schema(database: Path) -> tuple[dict, dict, list]:
    """Names of tables, indices and triggers; columns of tables; the revision."""
    with closing(sqlite3.connect(database)) as opened:
        names = dict(opened.execute("select name, type from sqlite_master").fetchall())
        tables = [name for name, kind in names.items() if kind == "table"]
        columns = {name: sorted(row[1:] for row in opened.execute(f'pragma table_info("{name}")')) for name in tables}
        return names, columns, opened.execute("select version_num from alembic_version").fetchall()


def test_the_script_and_the_remaining_migrations_make_prefects_own_schema(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("PREFECT")]:
        monkeypatch.delenv(name)
    (tmp_path / "migrated").mkdir()
    assert server.prepare_database(tmp_path / "made")
    assert not server.prepare_database(tmp_path / "made")  # one that is there is left alone
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["prefect.db"]
    assert schema(migrate(tmp_path / "made")) == schema(migrate(tmp_path / "migrated"))


@pytest.mark.parametrize("why", ["configured", "revision"])
def test_prefect_makes_the_database_where_the_script_does_not_fit(tmp_path, monkeypatch, why):
    if why == "configured":
        monkeypatch.setenv("PREFECT_API_DATABASE_CONNECTION_URL", "postgresql+asyncpg://somewhere/else")
    else:
        monkeypatch.setattr(server, "DATABASE_REVISION", "000000000000")
    assert not server.prepare_database(tmp_path / "home")
    assert not (tmp_path / "home").exists()


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder, closing(sqlite3.connect(migrate(Path(folder), sys.argv[1]))) as made:
        (ROOT / "flows" / "prefect_database.sql").write_text("\n".join(made.iterdump()) + "\n", encoding="utf-8")
