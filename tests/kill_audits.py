"""``python -m tests.kill_audits SOURCE FOLDER SEED``: an audit that is killed in every stage, then runs to its end.

Before that, one that is not disturbed. Their stores are FOLDER/whole and FOLDER/killed.

Each try is a process of its own (forked from the one that did the undisturbed audit, so that what takes long to import and to load is
there) and does the whole audit: nothing is replaced. It is killed by SIGKILL when it touches files for the n-th time in a stage -
opens, renames, makes or removes one - with n drawn at random: in between is all that a crash can leave behind. The last try is not
killed. One line of JSON for each is printed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from dataprops.audit import composition
from dataprops.audit.config import AuditConfig
from dataprops.audit.stages import distances
from dataprops.distances.plan import Plan
from dataprops.store.folder import finished_runs, locked, open_store
from dataprops.util.tools import inline_tools, no_progress

TOUCHES = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate", "shutil.copyfile"}
KEEPING = ("scan", "decode", "distances")  # write what later runs use again: killed twice; the others once
# what the stages import inside functions, and takes long: once, before the forks
HEAVY = (
    "great_expectations.expectations",
    "matplotlib.figure",
    "sklearn.model_selection",
    "sklearn.tree",
)


def attempt(source: str, store: str, victim: str, touch: int) -> None:
    """Audit, and be killed at the `touch`-th time that files of the store are touched in a stage, or at its end."""
    distances.plan_pass = lambda *arguments, **how: Plan(32, 256, 0)  # many jobs, as in a large set
    stage, count = "", 0

    def see(event: str, arguments: tuple) -> None:
        nonlocal count
        if victim and stage == victim and event in TOUCHES and str(arguments[0]).startswith(store):
            count += 1
            if count == touch:
                os.kill(os.getpid(), signal.SIGKILL)

    def call(function: Callable[..., Any], run: Any, tools: Any) -> Any:
        nonlocal stage, count
        stage, count = function.__name__, 0
        result = function(run, tools)
        if stage == victim:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    sys.addaudithook(see)
    config = AuditConfig(source, store, size=12, k=4, sample=50, draws=3, estimators=("mle", "twonn"))
    composition.run_stages(config, inline_tools(no_progress, 1), call)


def forked(*arguments: Any) -> int:
    """Try in a process of its own; its exit code, or minus the signal that ended it."""
    child = os.fork()
    if not child:
        code = 1
        try:
            attempt(*arguments)
            code = 0
        except BaseException:  # noqa: BLE001 - said, since the process ends here
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    """The command line."""
    source, root, rng = Path(sys.argv[1]), Path(sys.argv[2]).resolve(), random.Random(int(sys.argv[3]))
    for name in HEAVY:
        import_module(name)
    names = list(composition.STAGES)
    victims = [name for name in names for _ in range(2 if name in KEEPING else 1)]
    for store, victim in [("whole", ""), *(("killed", name) for name in victims), ("killed", "")]:
        touch, code = rng.randint(1, 40), 0
        if store == "whole":
            attempt(str(source), str(root / store), "", touch)
        else:
            code = forked(str(source), str(root / store), victim, touch)
        folder = open_store(root / store)
        with locked(folder, source.name):  # the lock went with the process
            finished = len(finished_runs(folder, source.name))
        print(json.dumps({"stage": victim, "touch": touch, "code": code, "finished": finished}), flush=True)


if __name__ == "__main__":
    main()
