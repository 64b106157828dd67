"""One module for each command of operation; `flows.cli` names them as text, since flows may not import deployments."""
