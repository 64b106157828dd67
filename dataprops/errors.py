"""The error types of the package.

`DatapropsError` stands for what the *caller* got wrong (a path, an option, too little memory); its message names the value
and the way out. What is wrong with the *data* is a finding and never raises.
"""


class DatapropsError(Exception):
    """Wrong usage or unusable input; the message names the file or value and the way out."""


class MachineError(DatapropsError):
    """The machine refused: a full disk, a read-only store, no file handles. Not the data's fault; ends the run (exit code 3)."""
