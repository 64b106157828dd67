"""One module per `dataprops` command, listed in `flows.cli`."""
