"""A notification block for a mail server of one's own: Prefect has one for Slack and one for Teams, but none for SMTP.

Imports Prefect alone: as an entry point of `prefect.collections` it is loaded by every Prefect process, so that the server and
the UI know it.
"""

from __future__ import annotations

from prefect.blocks.notifications import AppriseNotificationBlock


class Mail(AppriseNotificationBlock):
    """Mail by SMTP: an Apprise address such as mailtos://user:password@example.org?smtp=mail.example.org&to=ward@example.org."""

    _block_type_name = "Dataprops Mail"
    _block_type_slug = "dataprops-mail"
