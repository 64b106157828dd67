"""A notification block for a mail server of one's own: Prefect has one for Slack and one for Teams, but none for SMTP.

Imports Prefect alone: as an entry point of `prefect.collections` it is loaded by every Prefect process, so that the server and
the UI know it.
"""

from __future__ import annotations

from prefect.blocks.notifications import AppriseNotificationBlock


class Mail(AppriseNotificationBlock):
    """Mail by SMTP: an Apprise address such as mailtos://user:password@example.org?smtp=mail.example.org&to=ward@example.org.

    The text goes out as it is: by default Apprise would send it as HTML, without its line ends and whatever stands in <>.
    """

    _block_type_name = "Dataprops Mail"
    _block_type_slug = "dataprops-mail"

    def block_initialization(self) -> None:
        """Of Prefect: called when the block is made or loaded."""
        from apprise import NotifyFormat

        super().block_initialization()
        for service in self._apprise_client:
            service.notify_format = NotifyFormat.TEXT
