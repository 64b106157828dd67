"""`dataprops clean`. Heavy imports are deferred, so `--help` is fast."""

from __future__ import annotations

import click

from flows.commands.common import at_the_edge
from flows.commands.options import STORE

EXAMPLES = """\b
Examples:
  dataprops clean scans --remove duplicates,conflicts --out clean.csv    then: dataprops audit clean.csv --name scans
  dataprops clean scans --remove leaks,suspects --out clean.parquet      a manifest of the remaining images
  dataprops clean scans --remove conflicts --format labelstudio --out tasks.json

\b
Exit code: 0 written, 2 usage error or no finished audit.
"""
FORMATS = ("manifest", "csv", "cleanlab", "fiftyone", "labelstudio")


class _Command(click.Command):
    """Its `--help` lists what can be removed."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from dataprops.findings.removal import REMOVALS

        with formatter.section("What can be removed"):
            formatter.write_dl([(row.names[0], row.says) for row in REMOVALS.values()])
        super().format_epilog(ctx, formatter)


@click.command("clean", cls=_Command, epilog=EXAMPLES)
@click.argument("name")
@STORE
@click.option("--remove", required=True, help="Kinds of findings whose images are removed, comma-separated.")
@click.option("--out", required=True, type=click.Path(), help="Output file; a manifest is .csv or .parquet.")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="manifest",
    show_default=True,
    help="Remaining images (manifest), removed images (csv, labelstudio), or all images with findings (cleanlab, fiftyone).",
)
@click.option(
    "--links", default="/data/local-files/?d=", show_default=True, help="Label Studio: prefix of image links."
)
@at_the_edge
def command(name: str, store: str, remove: str, out: str, form: str, links: str) -> None:
    """Write a manifest of dataset NAME without the images flagged by its newest audit. Image files are not changed."""
    from dataprops.audit.cleaning import clean, newest_results, write_list

    results = newest_results(store, name)
    cleaned = clean(results, remove)
    path = write_list(out, results, cleaned, form, links)
    counts = cleaned.removed["kind"].value_counts()
    for kind, count in counts.items():
        click.echo(f"{count:>8,}  removed: {kind.replace('_', ' ')}")
    click.echo(f"{len(cleaned.kept):>8,}  of {len(results.images):,} images remain")
    click.echo(f"wrote {path}")
    if form == "manifest":
        if cleaned.findable:
            click.echo(f"next: {cleaned.again.replace('FILE', str(path))}")
        else:
            click.echo("these images are inside a container: an audit cannot read the listed paths alone", err=True)
