"""Values against annotations: what is refused, in which words, and what is taken as it is meant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dataprops.audit.config import AuditConfig, from_dict
from dataprops.errors import DatapropsError
from dataprops.util.validation import OptionError


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("size", 0, "size must be between 1 and 4096, got 0"),
        ("size", "64", "size must be a whole number, got '64'"),
        ("k", True, "k must be a whole number, got True"),
        ("channels", 2, "channels must be 1 or 3, got 2"),
        ("scale", "full", "scale must be full-range or per-image-max, got 'full'"),
        ("near_rms", float("nan"), "near_rms must be between 0 and 255, got nan"),
        ("sample", 1, "sample must be at least 2, got 1"),
        ("memory", 0, "memory must be more than 0, got 0"),
        ("rules", "a=b", "rules must be a list of strings, got 'a=b'"),
        ("rules", [1], "rules must be a list of strings"),
        ("as_written", 1, "as_written must be true or false, got 1"),
    ],
)
def test_a_wrong_option_is_named_with_what_it_takes(option, value, words):
    with pytest.raises(OptionError) as caught:
        AuditConfig(source="x", **{option: value})
    assert caught.value.option == option
    assert words in str(caught.value)


def test_paths_numpy_numbers_and_lists_are_taken_as_meant():
    config = AuditConfig(source=Path("scans"), store=Path("audits"), size=np.int64(32), near_rms=3, rules=["a=b"])
    assert (config.source, config.store, config.size, config.rules) == ("scans", "audits", 32, ("a=b",))
    assert type(config.size) is int


def test_an_unknown_option_names_the_nearest():
    with pytest.raises(DatapropsError, match="did you mean size"):
        from_dict({"source": "x", "sizes": 3})
