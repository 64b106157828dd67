"""Every kind of channel really sends, through Prefect's notification blocks, to servers of ours; and fails, and sends again."""

from __future__ import annotations

import traceback
from urllib.parse import urlsplit

import pytest
from prefect.blocks.abstract import NotificationError
from prefect.blocks.core import Block

from dataprops.checks import open_alerts
from deployments.channels import CHANNELS
from flows import notifications
from flows.operation import Operation
from tasks.channels import send_once
from tests.message_places import PASSWORD, SLACK, TEAMS, USER, Places, parts
from tests.prefect_server import Inbox

ALERT = {
    "name": "conflicts",
    "severity": "critical",
    "sentence": "2 pairs of identical pictures carry different labels & <that> is *wrong*.",
    "paths": ["a/000.png", "b/twin_1.png"],
}
KINDS = ("webhook", "slack", "teams", "mail")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    opened = Places(tmp_path_factory.mktemp("places"))
    yield opened
    opened.close()


@pytest.fixture
def channel(request, places, monkeypatch):
    """A channel of the kind, as the file of datasets makes it; the value is a function that says what arrived by it."""
    kind = request.param
    for name, value in places.environment.items():
        monkeypatch.setenv(name, value)
    inbox = Inbox()
    values = {
        "url": places.addresses.get(kind, f"{inbox.url}/flaky"),
        **({"token": "t0k"} if kind == "webhook" else {}),
    }
    assert CHANNELS[kind].check(values) == ""
    monkeypatch.setattr(Block, "load", lambda name: CHANNELS[kind].block(values))
    before = len(places.taken)

    def arrived() -> list[tuple[str, str]]:
        if kind == "webhook":
            return [(message["subject"], message["text"]) for message in inbox.messages]
        return [(message.subject, message.text) for message in places.taken[before:]]

    yield arrived
    inbox.close()


@pytest.mark.parametrize("channel", KINDS, indirect=True)
def test_a_channel_that_fails_gets_the_message_at_the_next_try_and_once(channel, tmp_path):
    (item,) = open_alerts.settle(tmp_path, "chest", [ALERT], "r1", "t")
    sent = ("ward", "kind/name", item, "http://127.0.0.1/report.html", tmp_path)
    with pytest.raises(NotificationError, match="ward delivery failed") as failed:
        send_once(*sent)
    # what Prefect keeps of it: no address but its host, no token
    said = "".join(traceback.format_exception(failed.value))
    for secret in ("/flaky", "t0k", urlsplit(SLACK).path, parts(urlsplit(TEAMS).geturl())[0], PASSWORD):
        assert str(secret) not in said.partition("delivery failed")[2]
    assert channel() == []
    assert open_alerts.receipts(tmp_path, "chest", item["id"]) == {}
    assert send_once(*sent) is True
    assert send_once(*sent) is False
    ((subject, text),) = channel()
    assert subject == "[critical] chest: conflicts"
    lines = [line.strip() for line in text.splitlines()]
    assert lines[0] == ALERT["sentence"]
    assert "Images: a/000.png, b/twin_1.png" in lines
    assert "Report: http://127.0.0.1/report.html" in lines
    assert lines[-1] == f"(audit r1, message {item['id']})"


@pytest.mark.parametrize("channel", KINDS, indirect=True)
def test_news_that_did_not_arrive_is_sent_again_by_the_process_that_stays(channel, tmp_path, monkeypatch):
    """Opened and closed, each once; a channel that failed waits longer each time, and raises nothing."""
    clock = [0.0]
    monkeypatch.setattr(notifications.time, "monotonic", lambda: clock[0])
    long_ago = "2020-01-01T00:00:00+00:00"
    how, tried = Operation("warning", {"ward": "kind/name"}), {}
    open_alerts.record_failure(tmp_path, "chest", "An audit did not start.", "r1", long_ago, name=open_alerts.RUN_LATE)
    open_alerts.settle(tmp_path, "chest", [], "r2", long_ago)
    assert notifications.send_waiting(tmp_path, "chest", how, tried) == 0  # both were tried, and refused
    assert notifications.send_waiting(tmp_path, "chest", how, tried) == 0  # not tried: it is too early
    clock[0] += notifications.FIRST_WAIT
    assert notifications.send_waiting(tmp_path, "chest", how, tried) == 2
    assert [subject for subject, _ in channel()] == ["[critical] chest: audit_late", "[closed] chest: audit_late"]
    assert notifications.send_waiting(tmp_path, "chest", how, tried) == 0
    assert not tried


def test_slack_teams_and_mail_are_asked_as_they_want_to_be(places, monkeypatch):
    """Tokens, signature and recipient arrive as they stand in the file; the mail only after TLS and a login."""
    for name, value in places.environment.items():
        monkeypatch.setenv(name, value)
    for kind, url in places.addresses.items():
        for _ in range(2):
            CHANNELS[kind].block({"url": url}).notify("the text", subject=f"to {kind}")
    whole = {message.place: message.whole for message in places.taken if message.subject == f"to {message.place}"}
    assert whole["slack"][0] == urlsplit(SLACK).path
    assert parts(whole["teams"][0]) == parts(urlsplit(TEAMS)._replace(scheme="", netloc="").geturl())
    assert whole["teams"][1]["attachments"][0]["content"]["type"] == "AdaptiveCard"
    recipients, mail = whole["mail"]
    assert recipients == ["ward@example.org"]
    assert f"{USER}@example.org" in mail["From"]


def test_a_wrong_certificate_or_password_is_a_failure_and_not_a_message(places, monkeypatch):
    before = len(places.taken) + len(places.refused)
    right = places.addresses["mail"]
    for url, authority in ((right, None), (right.replace(PASSWORD, "wrong"), places.environment["SSL_CERT_FILE"])):
        with monkeypatch.context() as patch:
            patch.setenv("SSL_CERT_FILE", authority) if authority else patch.delenv("SSL_CERT_FILE", raising=False)
            block = CHANNELS["mail"].block({"url": url})
            with pytest.raises(NotificationError) as failed, block.raise_on_failure():
                block.notify("text", subject="subject")
            assert "Connection error while submitting email" in failed.value.log
    assert len(places.taken) + len(places.refused) == before
