"""An option is one row: the field of a record. The command, files of datasets, grids and the reference table follow it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import click
import pytest
from annotated_types import Interval
from click.testing import CliRunner

from dataprops.audit.config import AuditConfig
from dataprops.experiment.grid_options import OF_A_SET, OPTIONS
from dataprops.options import Option, ReadingOptions, rows
from deployments import datasets
from flows.commands import audit, experiment
from flows.commands.options import asked, options_of


@dataclass(frozen=True)
class Cropping(AuditConfig):
    """An audit with one option more."""

    crop: Annotated[int, Interval(ge=0, le=50), Option("Border that is cut off before resizing, percent")] = 0


def test_a_new_field_is_an_option_of_the_command_with_bounds_and_default_and_its_value_is_checked():
    @click.command()
    @click.argument("source")
    @options_of(Cropping, leave_out=("source",))
    def command(**options):
        config = Cropping(**asked(options))
        click.echo(f"{config.crop} {config.k} {config.probe} {config.rules} {config.channels} {config.memory}")

    run = CliRunner().invoke
    told = " ".join(run(command, ["--help"]).output.split())
    assert "Border that is cut off before resizing, percent. [default: 0; 0<=x<=50]" in told
    given = [
        "x",
        *[
            "--crop",
            "10",
            "--k",
            "5",
            "--no-probe",
            "--rule",
            "a=b",
            "--rule",
            "c=d",
            "--channels",
            "3",
            "--memory",
            "1K",
        ],
    ]
    assert run(command, given).output == "10 5 False ('a=b', 'c=d') 3 1024\n"
    assert run(command, ["x"]).output == "0 20 True () None None\n"
    assert "crop must be between 0 and 50, got 60" in str(run(command, ["x", "--crop", "60"]).exception)


def test_every_option_of_an_audit_is_one_of_the_command_a_key_of_a_dataset_and_a_row_of_the_reference():
    of_the_run = {"inline", "cluster", "workers", "fail_on", "as_json", "quiet"}
    named = {parameter.name: parameter for parameter in audit.command.params}
    assert named.keys() - of_the_run == rows(AuditConfig).keys()
    assert rows(AuditConfig).keys() - {"name", "store", "reason"} == datasets.OPTIONS
    readme = (Path(__file__).parents[1] / "dataprops/audit/README.md").read_text(encoding="utf-8")
    for name, row in rows(AuditConfig).items():
        assert re.search(rf"^\| `{name}` \|.*{re.escape(row.option.words.replace('|', chr(92) + '|'))}", readme, re.M)
        assert name == "source" or named[name].help.startswith(row.option.words)


def test_how_a_source_is_read_is_asked_of_a_grid_as_of_an_audit():
    shared = rows(ReadingOptions).keys()
    assert shared <= rows(AuditConfig).keys() & OPTIONS.keys() & OF_A_SET.keys()
    assert shared <= {parameter.name for parameter in experiment.command.params}


@pytest.mark.parametrize("rule", ["uncertain", ""])
def test_a_rule_without_a_value_is_refused_by_its_name(rule):
    with pytest.raises(Exception, match="rules must be name=value"):
        AuditConfig(source="x", rules=(rule,))


def test_help_lists_the_options_for_reading_the_source_under_their_own_heading():
    for command in (audit.command, experiment.command):
        told = CliRunner().invoke(command, ["--help"]).output
        own, reading = told.split("\nReading the source:\n")
        assert "--layout" in reading and "--group-pattern" in reading and "--layout TEXT" not in own
        assert "--store" in own and "--size" in own and "--store TEXT" not in reading
