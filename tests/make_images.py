"""Small image folders with planted faults."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = 12


def noise(rng: np.random.Generator, channels: int = 1) -> np.ndarray:
    """A random image; two of these are never near-identical."""
    shape = (SIZE, SIZE) if channels == 1 else (SIZE, SIZE, channels)
    return rng.integers(0, 256, shape).astype(np.uint8)


def save(path: Path, pixels: np.ndarray) -> None:
    """Write a PNG, its folders included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def encoded(image: Image.Image | np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    """An image as a file."""
    out = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(out, kind, **options)
    return out.getvalue()


def random_folder(root: Path, counts: dict[str, int], seed: int = 0) -> dict[str, np.ndarray]:
    """`counts` images of noise in each class folder; returns path -> pixels."""
    rng = np.random.default_rng(seed)
    images = {}
    for label, count in counts.items():
        for number in range(count):
            name = f"{label}/{number:03d}.png"
            images[name] = noise(rng)
            save(root / name, images[name])
    return images
