"""Where messages go in tests: a mail server, and a place that answers for Slack and Teams. Nothing of the sender is replaced.

Each refuses the first try of every message, and takes the second.
"""

from __future__ import annotations

import email
import email.policy
import html
import json
import ssl
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from tests.prefect_server import free_port

SLACK = "https://hooks.slack.com/services/T0000000A/B0000000B/abcdefghijklmnopqrstuvwx"
AZURE = "prod-07.westeurope.logic.azure.com"
TEAMS = (
    f"https://{AZURE}:443/workflows/0123456789abcdef0123456789abcdef/triggers/manual/paths/invoke"
    "?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=a-signature"
)
USER, PASSWORD = "dataprops", "a-password"


@dataclass(frozen=True)
class Message:
    """What arrived: where, the subject and the text a person reads, and all of it as it came."""

    place: str
    subject: str
    text: str
    whole: Any


class Places:
    """A mail server with STARTTLS and a login, and a web server that stands where Slack and Teams are.

    The web server is a proxy that answers CONNECT itself, over TLS in the name that was asked for. Whoever has `environment`
    sends there what it believes to send to Slack.
    """

    def __init__(self, folder: Path):
        self.taken: list[Message] = []
        self.refused: list[Message] = []
        self.authority = trustme.CA()
        bundle = folder / "authority.pem"
        self.authority.cert_pem.write_to_path(str(bundle))
        self.web = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self.web.serve_forever, args=(0.05,), daemon=True).start()
        self.mail = Controller(
            _Mail(self),
            hostname="127.0.0.1",
            port=free_port(),
            tls_context=self.context("127.0.0.1"),
            require_starttls=True,
            auth_required=True,
            authenticator=_login,
        )
        self.mail.start()
        proxy = f"http://127.0.0.1:{self.web.server_address[1]}"
        self.environment = {
            **dict.fromkeys(("HTTPS_PROXY", "https_proxy"), proxy),
            **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost"),
            **dict.fromkeys(("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"), str(bundle)),
        }
        self.addresses = {
            "slack": SLACK,
            "teams": TEAMS,
            "mail": (
                f"mailtos://{USER}:{PASSWORD}@example.org:{self.mail.port}?smtp=127.0.0.1&mode=starttls&to=ward@example.org"
            ),
        }

    def context(self, name: str) -> ssl.SSLContext:
        """TLS in this name."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(name).configure_cert(context)
        return context

    def takes(self, message: Message) -> bool:
        """Whether this try is taken: not the first."""
        again = any((seen.place, seen.text) == (message.place, message.text) for seen in self.refused)
        (self.taken if again else self.refused).append(message)
        return again

    def subjects(self, place: str) -> list[str]:
        """Subjects that were taken, in the order in which they came."""
        return [message.subject for message in self.taken if message.place == place]

    def close(self) -> None:
        self.mail.stop()
        self.web.shutdown()
        self.web.server_close()


def _login(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    known = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=known, handled=known)  # what is not handled is answered with 535


class _Mail:
    """Of `aiosmtpd`: takes or refuses a mail."""

    def __init__(self, places: Places):
        self.places = places

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        body = mail.get_body(("plain", "html"))
        text = "" if body is None else body.get_content()
        taken = self.places.takes(Message("mail", str(mail["Subject"]), text, (envelope.rcpt_tos, mail)))
        return "250 OK" if taken else "451 not now"


def _handler(places: Places) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        host = ""

        def do_CONNECT(self) -> None:
            self.host = self.path.rpartition(":")[0]
            self.send_response(200)
            self.end_headers()
            self.connection = places.context(self.host).wrap_socket(self.connection, server_side=True)
            self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb")
            self.close_connection = False  # http.client asks for its tunnel by HTTP/1.0

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = b"ok" if places.takes(READ[self.host](self.path, body)) else b"not now"
            self.send_response(200 if answer == b"ok" else 503)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *words: Any) -> None:
            pass

    return Handler


def _of_slack(path: str, body: dict) -> Message:
    (part,) = body["attachments"]
    text = html.unescape(part["text"])  # Slack wants &, < and > so, and shows them as they were
    return Message("slack", part["title"], text, (path, body))


def _of_teams(path: str, body: dict) -> Message:
    (part,) = body["attachments"]
    texts = {block["id"]: block["text"] for block in part["content"]["body"] if block["type"] == "TextBlock"}
    return Message("teams", texts["title"], texts["body"], (path, body))


READ = {"hooks.slack.com": _of_slack, AZURE: _of_teams}


def parts(path: str) -> tuple[str, dict[str, list[str]]]:
    """Path and query of an address."""
    split = urlsplit(path)
    return split.path, parse_qs(split.query)
