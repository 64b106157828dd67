"""Patient, study, series and site of a DICOM file as keyed hashes, and its scanner as text.

Privacy: only manufacturer and model of the scanner leave this module as text; ids and site leave it as keyed hashes (BLAKE2b, the key
is the store's salt). The basic profile of PS3.15 keeps manufacturer and model; a value that looks like a person's name is hashed too.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, NamedTuple

from dataprops.imaging.dicom_header import IDS, UnreadableDicom, damaged, read_header, text_of, whole
from dataprops.util.guard import guarded

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# What names no patient, without case, spaces and signs: words; and one letter or digit again and again (`stands_for_nobody`)
# fmt: off
PLACEHOLDERS = frozenset((
    "", "anon", "anonymous", "anonymized", "anonymised", "anonymouspatient", "none", "unknown", "na", "null", "nan",
    "removed", "redacted", "deleted", "hidden", "withheld", "masked", "deidentified", "noid", "noname", "patient",
    "notavailable", "unspecified", "undefined", "empty", "missing", "default", "test", "pseudonymized",
))
# fmt: on
# those among them that are valid names of groups
WORDS = frozenset(["patient", "test", "default", "empty", "hidden", "masked", "deleted", "missing"])
_SCANNER, _SITE = ("Manufacturer", "ManufacturerModelName"), ("InstitutionName", "StationName")
MOST_NAME = 64  # characters of a scanner's maker, and of its model: more than DICOM allows is no such name


class Identity(NamedTuple):
    """Patient, study and series as keyed hashes (None if missing), and the declared number of frames.

    `scanner` is manufacturer and model as text, `site` the institution (else the station) as a keyed hash.
    """

    patient: str | None
    study: str | None
    series: str | None
    frames: int
    scanner: str | None = None
    site: str | None = None


def identity(data: bytes, salt: str) -> Identity:
    """Identity of a file; all None for damaged files.

    Parameters
    ----------
    salt : str
        The store's salt, hexadecimal; if empty, no ids are returned.
    """
    nobody = Identity(None, None, None, 1)
    if not salt:
        return nobody
    try:
        with guarded(damaged, passing=(UnreadableDicom,)):
            return _identity(read_header(data, [*IDS, *_SCANNER, *_SITE, "NumberOfFrames"]), salt)
    except UnreadableDicom:
        return nobody


def _identity(header: Dataset, salt: str) -> Identity:
    patient, issuer = text_of(header, "PatientID"), text_of(header, "IssuerOfPatientID")
    known = not stands_for_nobody(patient)
    study, series = text_of(header, "StudyInstanceUID"), text_of(header, "SeriesInstanceUID")
    frames = whole(header, "NumberOfFrames")
    return Identity(
        _hashed("patient", f"{issuer}\0{patient}" if issuer else patient, salt) if known else None,
        _hashed("study", study, salt) if study else None,
        _hashed("series", series, salt) if series else None,
        max(1, frames or 1),
        _scanner(header, salt),
        _site(header, salt),
    )


def _scanner(header: Dataset, salt: str) -> str | None:
    """Manufacturer and model; a value that may be a person's name (with ^) is hashed."""
    words: list[str] = []
    for name in _SCANNER:
        value = " ".join(text_of(header, name).split())
        if is_placeholder(value):
            continue
        if "^" in value or len(value) > MOST_NAME or not value.isprintable():
            value = _hashed("scanner", value, salt)
        if words and value.lower().startswith(words[0].lower()):
            words.clear()  # a model that begins with its maker
        words.append(value)
    return " ".join(words) or None


def _site(header: Dataset, salt: str) -> str | None:
    for name in _SITE:
        value = " ".join(text_of(header, name).split())
        if not is_placeholder(value):
            return _hashed("site", value.lower(), salt)
    return None


def is_placeholder(name: str) -> bool:
    """Whether a text is a placeholder for a missing id, which does not identify a group of images.

    >>> [is_placeholder(text) for text in ("Anonymous^Patient", "de-identified", "", "P1", "anon 7", "0")]
    [True, True, True, False, False, False]
    """
    plain = re.sub(r"[\W_]+", "", name).lower()
    return plain in PLACEHOLDERS and plain not in WORDS


def stands_for_nobody(patient: str) -> bool:
    """Whether a PatientID is not a real id: a placeholder, or only zeros or X.

    >>> [stands_for_nobody(text) for text in ("0", "000000", "XXXX", "10", "X7")]
    [True, True, True, False, False]
    """
    plain = re.sub(r"[\W_]+", "", patient).lower()
    return plain in PLACEHOLDERS or re.fullmatch(r"([0x])\1*", plain) is not None


def _hashed(what: str, value: str, salt: str) -> str:
    key = bytes.fromhex(salt)[:64]
    code = hashlib.blake2b(value.encode("utf-8", "surrogateescape"), key=key, person=what.encode(), digest_size=8)
    return f"{what}-{code.hexdigest()}"
