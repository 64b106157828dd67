"""The factor of all 95 % intervals by the normal distribution: value - Z * se to value + Z * se."""

from __future__ import annotations

Z = 1.959963984540054  # 97.5 % quantile of the standard normal distribution
