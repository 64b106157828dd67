"""Notification channels: the keys of each kind, their validation, and the Prefect block."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from prefect.blocks.core import Block


class Kind(NamedTuple):
    """A kind of channel.

    Attributes
    ----------
    wanted, optional : tuple of str
        Required and optional keys in the file.
    check : callable
        values -> error message, "" if valid.
    block : callable
        values -> an unsaved block.
    """

    wanted: tuple[str, ...]
    optional: tuple[str, ...]
    check: Callable[[Mapping[str, Any]], str]
    block: Callable[[Mapping[str, Any]], Block]


def _web_address(values: Mapping[str, Any]) -> str:
    good = isinstance(values["url"], str) and values["url"].startswith(("http://", "https://"))
    return "" if good else "url must be a URL: http://... or https://..."


def _slack_address(values: Mapping[str, Any]) -> str:
    good = "url must be a Slack webhook URL: https://hooks.slack.com/services/T.../B.../..."
    return "" if _understood(_slack, values) else good


def _teams_address(values: Mapping[str, Any]) -> str:
    good = "url must be a Teams workflow URL: https://....logic.azure.com/workflows/...?api-version=...&sig=..."
    return "" if _understood(_teams, values) else good


def _mail_address(values: Mapping[str, Any]) -> str:
    good = (
        "url must be an Apprise mail URL: mailtos://user:password@example.org?smtp=mail.example.org&to=a@example.org"
        " (with complete sender and recipient addresses)"
    )
    mail = isinstance(values["url"], str) and values["url"].startswith(("mailto://", "mailtos://"))
    return "" if mail and _understood(_mail, values) else good


def _understood(block: Callable[[Mapping[str, Any]], Any], values: Mapping[str, Any]) -> bool:
    """Whether Apprise accepts the URL; it silently ignores invalid ones and would send nothing."""
    import logging

    apprise = logging.getLogger("apprise")
    level = apprise.level
    apprise.setLevel(logging.CRITICAL)  # it would log the URL, which may contain a password
    try:
        return bool(len(block(values)._apprise_client))
    except ValueError:  # including pydantic's: not a string, or refused by Prefect
        return False
    finally:
        apprise.setLevel(level)


def _webhook(values: Mapping[str, Any]) -> Block:
    from prefect.blocks.notifications import CustomWebhookNotificationBlock

    # secrets are substituted when sending, and masked in the UI
    secrets = {"header_value": str(values["token"])} if "token" in values else {}
    return CustomWebhookNotificationBlock(
        name="dataprops",
        url=values["url"],
        json_data={"subject": "{{subject}}", "text": "{{body}}"},
        headers={"Authorization": "Bearer {{header_value}}"} if secrets else None,
        secrets=secrets,
    )


def _slack(values: Mapping[str, Any]) -> Block:
    from prefect.blocks.notifications import SlackWebhook

    return SlackWebhook(url=values["url"])


def _teams(values: Mapping[str, Any]) -> Block:
    from prefect.blocks.notifications import MicrosoftTeamsWebhook

    return MicrosoftTeamsWebhook(url=values["url"])


def _mail(values: Mapping[str, Any]) -> Any:
    from tasks.mail import Mail

    return Mail(url=values["url"])


CHANNELS: dict[str, Kind] = {
    "webhook": Kind(("url",), ("token",), _web_address, _webhook),
    "slack": Kind(("url",), (), _slack_address, _slack),
    "teams": Kind(("url",), (), _teams_address, _teams),
    "mail": Kind(("url",), (), _mail_address, _mail),
}
