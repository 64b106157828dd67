"""How often Python looks for unreachable cycles: seldom, in the processes of this program.

By default it looks whenever 700 objects were made, and libraries make millions while they are imported: the imports of an audit take
a fifth less time without, and the end of its process, which looks at all of them once more, a third of the rest.
"""

from __future__ import annotations

import atexit
import gc

THRESHOLDS = (100_000, 50, 20)


def collect_seldom() -> None:
    """For a process that is ours from its start to its end; a library must not do this to its caller."""
    gc.set_threshold(*THRESHOLDS)
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)  # what is left then ends with the process
