"""Images held in memory between hashing and decoding, and serialised reading of small files."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from dataprops.imaging.decode import RawImage

SMALL_BYTES = 2048  # mean file size up to which batches are serialised (`Turns`)
BUSY = 0.6  # CPU time fraction above which a thread is not waiting for I/O


def size_of(image: bytes | RawImage) -> int:
    """Bytes of a file, or of the pixels of a decoded image."""
    return len(image) if isinstance(image, bytes) else image.pixels.nbytes


def _are_small(sizes: Sequence[int]) -> bool:
    """Whether Python overhead dominates decoding for files of these sizes."""
    return sum(sizes) <= SMALL_BYTES * len(sizes)


class Turns:
    """Serialises batches of small files, for which threads would contend for the GIL.

    Two threads take 1.8 times the CPU time of one for 10,000 JPEG files of 32 x 32 pixels, and longer by the clock. Files with slow
    I/O (network) and large files, whose decoding and hashing release the GIL, are processed in parallel.
    """

    def __init__(self) -> None:
        self._lock, self._alone = threading.Lock(), True  # until the first batch is known

    def take(self, alone: bool | None = None) -> AbstractContextManager:
        """Context for a batch; `alone` says whether its files are small, by default as learned from earlier batches."""
        return self._lock if (self._alone if alone is None else alone) else nullcontext()

    def learn(self, sizes: Sequence[int], busy: float) -> None:
        """Learn from a batch: its file sizes, and the fraction of time its thread used the CPU."""
        self._alone = busy >= BUSY and _are_small(sizes)


class Kept:
    """Images held from hashing until decoding, up to a limit, so that they are read once.

    Not shared with other processes: pickled instances are empty.

    Parameters
    ----------
    limit : int
        Total bytes.
    """

    def __init__(self, limit: int = 0) -> None:
        self._free = limit
        self._images: dict[str, tuple[str, bytes | RawImage]] = {}
        self._lock = threading.Lock()
        self.turns = Turns()

    def __reduce__(self) -> tuple:
        return (Kept, ())

    def put(self, key: str, content: str, image: bytes | RawImage) -> None:
        """Hold an image with its hash, if there is room."""
        size = size_of(image)
        if not isinstance(image, bytes) and getattr(image.pixels.base, "nbytes", 0) > size:
            return  # a view would keep the whole array alive
        with self._lock:
            if size <= self._free:
                self._free -= size
                self._images[key] = content, image

    def take(self, key: str) -> tuple[str, bytes | RawImage] | None:
        """Remove and return hash and image; None if not held."""
        with self._lock:
            found = self._images.pop(key, None)
            self._free += 0 if found is None else size_of(found[1])
        return found

    def small(self, keys: Sequence[str]) -> bool:
        """Whether these images are all held, and small (`Turns`)."""
        with self._lock:
            found = [self._images.get(key) for key in keys]
        sizes = [size_of(image[1]) for image in found if image is not None]
        return len(sizes) == len(keys) > 0 and _are_small(sizes)
