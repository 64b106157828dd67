"""Exact inner products of int8 rows, by the fastest implementation that is correct on this machine.

uint8 images are shifted to int8 (x - 128, which preserves distances), so their inner products are integers. A product over D
features is at most D * 2^14, which fits int32 for D <= 131,071; more features are split and summed in int64.

Routes, tried by `choose_route` (`probe` tests each with extreme values, on which saturating instructions fail, and times it):

- ``int8``: `torch._int_mm`, int8 x int8 -> int32.
- ``int16``: `madd`, on processors with AVX2 but without int8 products.
- ``float32``: float32 products over 1,024 features at a time: |sum| <= 2^24, so every partial sum is an integer representable in
  float32, in any order of summation. Exact on any hardware (without reduced-precision float32 modes).
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable

import torch
from torch import Tensor

from dataprops.distances import madd
from dataprops.distances.lanes import supported

log = logging.getLogger(__name__)

INT32_FEATURES = 131_071  # D * 128 * 128 < 2^31
FLOAT32_FEATURES = 1_024  # D * 128 * 128 <= 2^24
LEAST_FEATURES = 8  # zero-padded to: `_int_mm` of torch 2.13 returns garbage for a single feature on CPU


def _pad(x: Tensor, rows: int, features: int) -> Tensor:
    return torch.nn.functional.pad(x, (0, features - x.shape[1], 0, rows - x.shape[0]))


def _int8(a: Tensor, b: Tensor) -> Tensor:
    if a.is_cuda:
        # cuBLASLt requires more than 16 rows and multiples of 8: pad with zeros
        m, n, d = max(32, -(-a.shape[0] // 8) * 8), max(32, -(-b.shape[0] // 8) * 8), -(-a.shape[1] // 8) * 8
        if (m, d) != a.shape or (n, d) != b.shape:
            return torch._int_mm(_pad(a, m, d), _pad(b, n, d).t())[: a.shape[0], : b.shape[0]]  # pyright: ignore[reportPrivateUsage]
    if a.shape[1] < LEAST_FEATURES:
        return torch._int_mm(_pad(a, a.shape[0], LEAST_FEATURES), _pad(b, b.shape[0], LEAST_FEATURES).t())  # pyright: ignore[reportPrivateUsage]
    return torch._int_mm(a, b.t())  # pyright: ignore[reportPrivateUsage]


def _float32(a: Tensor, b: Tensor) -> Tensor:
    total = torch.zeros(a.shape[0], b.shape[0], dtype=torch.int32, device=a.device)
    for start in range(0, a.shape[1], FLOAT32_FEATURES):
        part = slice(start, start + FLOAT32_FEATURES)
        total += _float32_part(a[:, part], b[:, part]).int()
    return total


def _float32_part(a: Tensor, b: Tensor) -> Tensor:
    """Products over at most `FLOAT32_FEATURES` features, integers as float32."""
    return a.float() @ b.float().t()


ROUTES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"int8": _int8, "float32": _float32}
if supported("avx2"):
    ROUTES["int16"] = madd.multiply


def product(a: Tensor, b: Tensor, route: str) -> Tensor:
    """Exact inner products of all rows of `a` with all rows of `b`.

    Parameters
    ----------
    a, b : int8 [m, D], [n, D]
        Shifted images.
    route : str
        A key of `ROUTES`, from `choose_route`.

    Returns
    -------
    Tensor [m, n]
        int32 where D <= 131,071, else int64.
    """
    multiply = ROUTES[route]
    if a.shape[1] <= INT32_FEATURES:
        return multiply(a, b)
    parts = -(-a.shape[1] // (INT32_FEATURES // 64 * 64))  # else rounding the width up to 64 could exceed the limit
    width = -(-a.shape[1] // (parts * 64)) * 64
    total = torch.zeros(a.shape[0], b.shape[0], dtype=torch.int64, device=a.device)
    for start in range(0, a.shape[1], width):
        total += multiply(a[:, start : start + width], b[:, start : start + width])
    return total


def code_product(a: Tensor, b: Tensor, route: str) -> Tensor:
    """`product` for few features, with integers in the route's own type, float32 or int32."""
    if route == "float32" and a.shape[1] <= FLOAT32_FEATURES:
        return _float32_part(a, b)
    return product(a, b, route)


def probe(route: str, device: str) -> float:
    """Seconds for a medium-sized product by this route; infinity if it is unavailable or wrong on this device.

    Checks the cases in which int8 units fail: saturation of pairs of large products, and signs.
    """
    try:
        extremes = torch.tensor([[-128], [127], [-1], [1], [0]], dtype=torch.int8, device=device).repeat(8, 513)
        wide = extremes.long()
        exact = (wide.unsqueeze(1) * wide.unsqueeze(0)).sum(-1)
        if not torch.equal(ROUTES[route](extremes, extremes).long(), exact):
            log.warning("the %s product gives wrong integers on %s and is not used", route, device)
            return float("inf")
        values = (torch.arange(512 * 2048, device=device) * 37 % 256 - 128).to(torch.int8).reshape(512, 2048)
        seconds = float("inf")
        for _ in range(3):
            begin = time.perf_counter()
            ROUTES[route](values, values)[0, 0].item()
            seconds = min(seconds, time.perf_counter() - begin)
        return seconds
    except (RuntimeError, AttributeError, NotImplementedError) as error:
        log.warning("the %s product is not available on %s: %s", route, device, error)
        return float("inf")


def _without_int8(device: str) -> bool:
    """Whether this is a processor without int8 products, where compiling `madd` pays."""
    return device == "cpu" and not (supported("avx512vnni") or supported("avxvnni"))


@functools.cache
def choose_route(device: str = "cpu") -> str:
    """The fastest correct route on `device`, probed once per process.

    Raises
    ------
    RuntimeError
        If no route gives exact integers.
    """
    routes = [route for route in ROUTES if route != "int16" or _without_int8(device)]
    seconds = {route: probe(route, device) for route in routes}
    best = min(seconds, key=seconds.__getitem__)
    if seconds[best] == float("inf"):
        raise RuntimeError(f"no exact integer product works on {device}; routes tried: {', '.join(routes)}")
    log.info("exact products on %s by the %s route", device, best)
    return best
