"""The error types of the package.

`DatapropsError` is raised for a *caller's* error (a path, an option, too little memory); its message names the value and the
remedy. Defects of the *data* are findings and never raise.
"""

MOST = 4000  # characters of a message; names and values from files can be megabytes


def printable(text: str) -> str:
    r"""A message that is safe to print: control characters and undecodable bytes are escaped, and a long message loses its middle.

    >>> printable("no column 'path' (it has \x1b[2J\udce9)"), printable("two\nlines")
    ("no column 'path' (it has \\x1b[2J\\udce9)", 'two\nlines')
    """
    if len(text) > MOST:
        text = f"{text[: MOST - 600]} ... {text[-400:]}"
    if text.replace("\n", "").isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode("ascii") for c in text)


class DatapropsError(Exception):
    """Usage error or unusable input; the message names the file or value and the remedy."""

    def __init__(self, *told: object) -> None:
        super().__init__(*(printable(part) if isinstance(part, str) else part for part in told))


class MachineError(DatapropsError):
    """A system error: full disk, read-only store, too many open files. Ends the run with exit code 3."""
