"""A Prefect notification block for SMTP; Prefect itself has none.

Imports only Prefect: as an entry point of `prefect.collections` it is loaded by every Prefect process, so that the server and
the UI know it.
"""

from __future__ import annotations

from prefect.blocks.notifications import AppriseNotificationBlock


class Mail(AppriseNotificationBlock):
    """Mail by SMTP: an Apprise URL such as mailtos://user:password@example.org?smtp=mail.example.org&to=ward@example.org.

    Sent as plain text: by default Apprise sends HTML, which loses line breaks and anything in <>.
    """

    _block_type_name = "Dataprops Mail"
    _block_type_slug = "dataprops-mail"

    def block_initialization(self) -> None:
        """Called by Prefect when the block is created or loaded."""
        from apprise import NotifyFormat

        super().block_initialization()
        for service in self._apprise_client:
            service.notify_format = NotifyFormat.TEXT
