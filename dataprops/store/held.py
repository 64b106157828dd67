"""Between hashing and decoding: images that were read once and are held for decoding, and small files read in turn."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from dataprops.imaging.decode import RawImage

SMALL_BYTES = 2048  # of a file, on average, that is read and decoded in turn (`Turns`)
BUSY = 0.6  # share of the time: a thread that waits less is not waiting for files


def size_of(image: bytes | RawImage) -> int:
    """Bytes of a file, or of the pixels of a decoded image."""
    return len(image) if isinstance(image, bytes) else image.pixels.nbytes


def _are_small(sizes: Sequence[int]) -> bool:
    """Whether Python has more work with files of these sizes than decoders."""
    return sum(sizes) <= SMALL_BYTES * len(sizes)


class Turns:
    """Batches of small files one after the other: threads would hand Python's lock to and fro for each of them.

    Of 10,000 JPEG files of 32 x 32 pixels two threads take 1.8 times the processor time of one, and longer by the clock. Files that
    are waited for (a network's) are read beside each other, and so are large ones, on which decoders and hashes work by themselves.
    """

    def __init__(self) -> None:
        self._lock, self._alone = threading.Lock(), True  # the first batch says which files they are

    def take(self, alone: bool | None = None) -> AbstractContextManager:
        """What a batch runs in; `alone` says that it is of small files, else those before tell."""
        return self._lock if (self._alone if alone is None else alone) else nullcontext()

    def learn(self, sizes: Sequence[int], busy: float) -> None:
        """Told of a batch: the sizes of its files, and the share of the time in which its thread worked."""
        self._alone = busy >= BUSY and _are_small(sizes)


class Kept:
    """Images that were read for hashing and will be decoded: held up to a limit, so that they are not read twice.

    Other processes get none: a piece of work that is sent to one reads for itself.

    Parameters
    ----------
    limit : int
        Bytes in all.
    """

    def __init__(self, limit: int = 0) -> None:
        self._free = limit
        self._images: dict[str, tuple[str, bytes | RawImage]] = {}
        self._lock = threading.Lock()
        self.turns = Turns()

    def __reduce__(self) -> tuple:
        return (Kept, ())

    def put(self, key: str, content: str, image: bytes | RawImage) -> None:
        """Keep an image by its key, with its hash, while there is room."""
        size = size_of(image)
        if not isinstance(image, bytes) and getattr(image.pixels.base, "nbytes", 0) > size:
            return  # a view, which would hold the whole of it
        with self._lock:
            if size <= self._free:
                self._free -= size
                self._images[key] = content, image

    def take(self, key: str) -> tuple[str, bytes | RawImage] | None:
        """Hash and image, once; None if it is not there."""
        with self._lock:
            found = self._images.pop(key, None)
            self._free += 0 if found is None else size_of(found[1])
        return found

    def small(self, keys: Sequence[str]) -> bool:
        """Whether these images are all here, and small (`Turns`)."""
        with self._lock:
            found = [self._images.get(key) for key in keys]
        sizes = [size_of(image[1]) for image in found if image is not None]
        return len(sizes) == len(keys) > 0 and _are_small(sizes)
