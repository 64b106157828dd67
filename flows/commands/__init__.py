"""One module for each command of `dataprops`; `flows.cli` names them."""
