"""The command line: a table of commands whose modules are imported on demand, so `--help` is fast."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from dataprops.util.garbage import collect_seldom
from dataprops.util.threads import wait_asleep

# name -> (module with a click command `command`, one line of help)
COMMANDS: dict[str, tuple[str, str]] = {
    "audit": ("flows.commands.audit", "Audit a dataset: properties, findings, alerts and a report."),
    "experiment": (
        "flows.commands.experiment",
        "Train networks on dataset samples and relate their results to dataset properties.",
    ),
    "fit": ("flows.commands.fit", "Fit the scaling laws to trained networks: slopes, held-out errors, a calibration."),
    "history": ("flows.commands.history", "List the audits of a dataset and the drift between them."),
    "compare": ("flows.commands.compare", "Compare two audits: changes beyond sampling noise."),
    "clean": ("flows.commands.clean", "Write a manifest without flagged images: duplicates, conflicts, leaks."),
    "prune": ("flows.commands.prune", "Delete old results and leftovers of killed runs."),
    "predict": ("flows.commands.predict", "Predict test loss and adversarial loss of networks trained on a dataset."),
    # by name, not imported: `flows` must run without `deployments`
    "deploy": ("deployments.commands.deploy", "Deploy the audits of a datasets file: schedules, triggers, channels."),
    "serve": ("deployments.commands.serve", "Run the audits of a datasets file on this machine."),
    "watch": ("deployments.commands.watch", "Watch for new data and start audits."),
    "notify": ("deployments.commands.notify", "Report new data, which starts an audit."),
}


class _Commands(click.Group):
    """Commands of the table `COMMANDS`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        return import_module(COMMANDS[cmd_name][0]).command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve a command by name; an unknown one fails with the nearest match."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from dataprops.util.nearest import did_you_mean

            hint = did_you_mean(args[0], COMMANDS)
            ctx.fail(f"no such command {args[0]!r}: {hint}commands are {', '.join(COMMANDS)}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; an unhandled error never exits with 1, the code for an alert."""
        try:
            return super().invoke(ctx)
        except BaseException as error:  # noqa: BLE001 - the edge
            from flows.commands.common import leave

            leave(error)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_line) for name, (_, help_line) in COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dataprops")
def main() -> None:
    """Audit image datasets before training: data errors, learning difficulty, adversarial vulnerability."""
    from flows.commands.common import refuse_few_addresses

    refuse_few_addresses()
    collect_seldom()
    wait_asleep()


if __name__ == "__main__":
    main()
