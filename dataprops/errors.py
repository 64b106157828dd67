"""The one error type of the package.

It stands for what the *caller* got wrong (a path, an option, too little memory); its message names the value and the way out.
What is wrong with the *data* is a finding and never raises.
"""


class DatapropsError(Exception):
    """Wrong usage or unusable input; the message names the file or value and the way out."""
