"""One module per operations command; `flows.cli` lists them by name, since `flows` may not import `deployments`."""
