"""A read-only HTTP server for results (reports, Data Docs, tables), so that links in the UI and in messages work.

It serves only `STORE/results` and the store's index page (`report.store_page`), which refreshes while an audit runs. It lists no
folders, follows no links out of the store, and accepts only known host names, which prevents DNS rebinding.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dataprops.audit.underway import in_words, running
from dataprops.errors import DatapropsError
from dataprops.report.store_page import render_store

if TYPE_CHECKING:
    from starlette.applications import Starlette

IDLE_SECONDS = 10  # refresh interval of the index page while no audit runs
LOCAL = ("127.0.0.1", "localhost", "[::1]")


def application(store: Path, hosts: tuple[str, ...] = LOCAL) -> Starlette:
    """The server as an ASGI application.

    Parameters
    ----------
    store : Path
    hosts : tuple of str
        Accepted host names.
    """
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.requests import Request
    from starlette.responses import HTMLResponse, Response
    from starlette.routing import Mount, Route
    from starlette.staticfiles import StaticFiles

    results = store / "results"

    class Results(StaticFiles):
        """Files of finished runs; hidden files are still being written."""

        async def get_response(self, path: str, scope: Any) -> Response:
            if any(part.startswith(".") for part in Path(path).parts):
                return Response(status_code=404)
            answer = await super().get_response(path, scope)
            answer.headers["X-Content-Type-Options"] = "nosniff"
            answer.headers["Referrer-Policy"] = "no-referrer"
            return answer

    def index(request: Request) -> Response:  # not async: it reads files, so it runs in a thread
        now = [{**told, "words": in_words(told)} for told in running(store)]
        # refresh, so that an open page shows new audits; while one runs, the page itself refreshes
        again = {} if now else {"Refresh": str(IDLE_SECONDS)}
        return HTMLResponse(render_store(store, now), headers={"Cache-Control": "no-store", **again})

    return Starlette(
        routes=[Route("/", index), Mount("/results", Results(directory=results, check_dir=False))],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)],
    )


def hosts_for(base_url: str, host: str) -> tuple[str, ...]:
    """Accepted host names: localhost, the listening address, and the one in links."""
    name = urlsplit(base_url).hostname
    return (*LOCAL, *(n for n in (name, host) if n and n not in LOCAL))


@contextmanager
def serving(store: Path, host: str, port: int, base_url: str) -> Iterator[int]:
    """Serve the results from a thread while the context lasts; yields the port.

    Raises
    ------
    DatapropsError
        If the address cannot be bound.
    """
    import socket

    import uvicorn

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(128)  # requests before the thread has started wait instead of being refused
    except OSError as error:
        listening.close()
        raise DatapropsError(
            f"results cannot be served at {host}:{port}: {error.strerror}; choose another --port, and set it in base_url"
        ) from error
    config = uvicorn.Config(application(store, hosts_for(base_url, host)), log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True, name="results")
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()
