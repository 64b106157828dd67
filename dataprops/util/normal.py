"""Factor of all 95 % normal intervals: value - Z * se to value + Z * se."""

from __future__ import annotations

Z = 1.959963984540054  # 97.5 % quantile of the standard normal distribution
