"""``python -m tests.changing MOMENT CHANGE SOURCE ARGUMENTS...``: `dataprops ARGUMENTS`, whose source changes at a moment.

With ``memory`` for the change the system gives no memory then.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

# when a stage begins; within the reading of files, after the tenth; and when the first batch is decoded
MOMENTS = ("scan", "reading", "decoding", "distances", "find", "report")
CHANGES = ("vanish", "truncate", "rewrite", "swap")


def change(what: str, source: Path) -> None:
    """Change a source: of a folder, four files; of another file, the whole."""
    if source.is_dir():
        cats, dogs = (sorted((source / label).glob("*.png"))[3::4][:4] for label in ("cat", "dog"))
        for cat, dog in zip(cats, dogs, strict=True):
            _change(what, cat, dog)
    else:
        _change(what, source, source.with_name(f"other{source.suffix}"))


def change_all(source: Path) -> None:
    """All changes to a folder, each to other files."""
    for number, what in enumerate(CHANGES):
        cat, dog = (source / label / f"{number + 3:03d}.png" for label in ("cat", "dog"))
        _change(what, cat, dog)


def _change(what: str, file: Path, other: Path) -> None:
    before = file.stat()
    if what == "vanish":
        file.unlink()
    elif what == "truncate":
        os.truncate(file, before.st_size // 2)
    elif what == "rewrite":  # in place, with other pixels
        file.write_bytes(other.read_bytes())
    else:  # they change places, each with the time of the one before it, as copying tools set it
        aside = file.with_suffix(".aside")
        file.rename(aside)
        other.rename(file)
        aside.rename(other)
        for path in (file, other):
            os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))


def arm(moment: str, act: Callable[[], None], put: Callable[[Any, str, Any], None] = setattr) -> None:
    """Let something happen once, at a moment of the next audit in this process. Files are read twice, as those of large sets."""
    from dataprops.audit import composition
    from dataprops.audit.stages import decode
    from dataprops.store import decoding, hashing

    put(decode, "KEPT_BYTES", 0)
    left = {"reading": 10}.get(moment, 1)

    def before(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                act()
            return real(*arguments, **options)

        return call

    if moment == "reading":
        put(hashing, "hash_image", before(hashing.hash_image))
    elif moment == "decoding":
        put(decoding, "_decode_batch", before(decoding._decode_batch))
    else:
        stage = composition.stage
        put(composition, "stage", lambda name: before(stage(name)) if name == moment else stage(name))


def no_memory() -> None:
    """What numpy does where the system gives it none."""
    raise MemoryError("Unable to allocate 1.0 TiB for an array")


def main(arguments: Sequence[str]) -> None:
    """The command line."""
    from flows.cli import main as command

    moment, what, source, *words = arguments
    acts = {"all": partial(change_all, Path(source)), "memory": no_memory}
    arm(moment, acts.get(what, partial(change, what, Path(source))))
    command(words)


if __name__ == "__main__":
    main(sys.argv[1:])
