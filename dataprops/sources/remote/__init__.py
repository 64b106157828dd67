"""Files elsewhere: addresses that fsspec opens, and listings of web servers."""
