"""The server of results, asked over raw sockets as a browser never would: nothing but files of finished runs leaves it."""

from __future__ import annotations

import logging
import random
import re
import socket
from pathlib import Path

import pytest

from deployments.server import serving

RUN = "20260101T000000Z-abcd"
REPORT = f"/results/chest/{RUN}/report.html"
SECRET = "the secret of the house"
SERVED = b"<html>the report</html>"
PARTS = (
    *(
        "..",
        ".",
        "%2e%2e",
        "%2E.",
        "%252e%252e",
        "..%2f",
        "..%5c",
        "..\\",
        "\\",
        "%5c",
        "//",
        "",
        "%00",
        "%0d%0aX: y",
        "\xff",
    ),
    *(
        "%ff",
        "%c0%ae%c0%ae",
        "%u002e",
        ";",
        "?a=1",
        "#x",
        "*",
        "~",
        "C:",
        "file:",
        "results",
        "chest",
        RUN,
        "report.html",
        "out",
    ),
    *(
        "secret.txt",
        ".summary.json.1.part",
        "alerts",
        "version.json",
        "etc",
        "passwd",
        "proc",
        "self",
        "environ",
        "a" * 300,
        "{x}",
    ),
)
METHODS = (
    "GET",
    "GET",
    "GET",
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "PROPFIND",
    "get",
    "G\0T",
    "",
)
HEADERS = (
    *(
        "Range: bytes=0-3",
        "Range: bytes=-1",
        "Range: bytes=0-99999999999999999999",
        "Range: bytes=9-1",
        "Range: a",
        "Range: bytes=,",
    ),
    *(
        f"Range: bytes={','.join(['0-1'] * 400)}",
        "If-None-Match: *",
        "If-Modified-Since: yesterday",
        "Content-Length: -1",
    ),
    *(
        f"Content-Length: {2**70}",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
        "Expect: 100-continue",
    ),
    *(
        "Upgrade: websocket\r\nConnection: Upgrade",
        "Connection: close",
        "Host: evil.example",
        f"X: {'y' * 70_000}",
        "X" * 300,
    ),
    *(
        "X-Forwarded-Host: evil.example",
        "X-Original-URL: /secret.txt",
        "Cookie: \xff\xfe",
        ": empty",
        "Folded: a\r\n b",
    ),
)
ODD = (
    *(
        b"",
        b"\0" * 64,
        b"\xff" * 64,
        b"GET",
        b"GET /",
        b"GET / HTTP/1.1\r\n",
        b"\r\n\r\n",
        b"GET  /  HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01",
    ),
    *(b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", b"GET / HTTP/0.9\r\n\r\n", b"GET / HTTP/1.1\nHost: localhost\n\n"),
    *(b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    *(
        b"GET http://evil.example/secret.txt HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET secret.txt HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ),
    *(b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\n" * 3000),
)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with a finished run, and what must not be served beside and within it."""
    run = tmp_path / "results/chest" / RUN
    run.mkdir(parents=True)
    (run / "report.html").write_bytes(SERVED)
    (run / ".summary.json.1.part").write_text(SECRET)
    (run / "out").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "results/elsewhere").symlink_to(tmp_path / "alerts")
    (tmp_path / "alerts").mkdir()
    for name in ("secret.txt", "version.json", "alerts/chest.json"):
        (tmp_path / name).write_text(SECRET)
    return tmp_path


def ask(port: int, request: bytes) -> bytes:
    """Send a request; the whole answer. A server that waits for more is told that nothing follows."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        answer = b""
        try:
            connection.sendall(request)
            connection.settimeout(0.2)
            while True:
                try:
                    part = connection.recv(65536)
                except TimeoutError:
                    connection.settimeout(5)
                    connection.shutdown(socket.SHUT_WR)
                    continue
                if not part:
                    break
                answer += part
        except (ConnectionResetError, BrokenPipeError):  # it has heard enough
            pass
    return answer


def generated(rng: random.Random) -> bytes:
    """A request of odd parts."""
    path = "/" + "/".join(rng.choice(PARTS) for _ in range(rng.randint(0, 5)))
    if rng.random() < 0.5:  # near what is there
        path = f"/results/chest/{RUN}/" + path
    head = [f"{rng.choice(METHODS)} {path} HTTP/1.{rng.randint(0, 1)}"]
    head += ["Host: localhost"] if rng.random() < 0.9 else []
    head += [*rng.sample(HEADERS, rng.randint(0, 2)), "Connection: close"]
    return ("\r\n".join(head) + "\r\n\r\n" + rng.choice(("", "", "body", "5\r\nhello\r\n0\r\n\r\n"))).encode("latin-1")


def test_the_server_answers_whatever_it_is_asked_and_gives_away_nothing_else(store: Path, caplog) -> None:
    rng = random.Random(20261126)
    seen = set()
    with caplog.at_level(logging.ERROR), serving(store, "127.0.0.1", 0, "http://localhost") as port:
        for request in (*ODD, *(generated(rng) for _ in range(300))):
            answer = ask(port, request)
            assert SECRET.encode() not in answer and b"root:" not in answer, request
            status = re.match(rb"HTTP/1\.[01] (\d{3}) ", answer)
            assert status or not answer, (request, answer[:80])  # an answer is one, or the connection is closed
            code = int(status[1]) if status else 0
            assert code < 500, (request, answer[:200])
            if code in (200, 206) and SERVED not in answer:  # the page of the store, or part of the report
                body = answer.partition(b"\r\n\r\n")[2]
                assert not body or b"<h1>Audits</h1>" in body or b"report" in body or body in SERVED, request
            seen.add(code)
        assert {0, 200, 400, 404, 405} <= seen
        page = ask(port, b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert b"\r\nrefresh: 10\r\n" in page.lower()  # an open page learns of an audit that begins
        whole = ask(port, f"GET {REPORT} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        assert whole.startswith(b"HTTP/1.1 200") and whole.endswith(SERVED)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
