"""The error types of the package.

`DatapropsError` stands for what the *caller* got wrong (a path, an option, too little memory); its message names the value
and the way out. What is wrong with the *data* is a finding and never raises.
"""

MOST = 4000  # characters of a message; a file may hold names and values of millions


def printable(text: str) -> str:
    r"""A message as a terminal may show it: control characters and bytes that are no text, as files may hold them, are escaped, and
    of a very long one the middle is left out.

    >>> printable("no column 'path' (it has \x1b[2J\udce9)"), printable("two\nlines")
    ("no column 'path' (it has \\x1b[2J\\udce9)", 'two\nlines')
    """
    if len(text) > MOST:
        text = f"{text[: MOST - 600]} ... {text[-400:]}"
    if text.replace("\n", "").isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode("ascii") for c in text)


class DatapropsError(Exception):
    """Wrong usage or unusable input; the message names the file or value and the way out."""

    def __init__(self, *told: object) -> None:
        super().__init__(*(printable(part) if isinstance(part, str) else part for part in told))


class MachineError(DatapropsError):
    """The machine refused: a full disk, a read-only store, no file handles. Not the data's fault; ends the run (exit code 3)."""
