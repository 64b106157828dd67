"""Remote files: URLs opened by fsspec, and listings of web servers."""
