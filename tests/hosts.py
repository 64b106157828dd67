"""Hosts of a network of their own, by network namespaces (Linux, root): each has one address and sees nothing but the others."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

NETWORK = "10.77.0"


class Host:
    """One host.

    Attributes
    ----------
    namespace : str
    address : str
    """

    def __init__(self, namespace: str, address: str):
        self.namespace, self.address = namespace, address

    def inside(self, command: Sequence[str]) -> list[str]:
        """The command that runs this one on the host, as the process that is started."""
        return ["ip", "netns", "exec", self.namespace, *command]

    def start(self, command: Sequence[str], **options: Any) -> subprocess.Popen:
        """Start a command on the host."""
        return subprocess.Popen(self.inside(command), **options)


def why_not() -> str:
    """Why there can be no hosts here; "" if there can."""
    if shutil.which("ip") is None:
        return "there is no ip command (apt-get install iproute2)"
    if os.geteuid() != 0:
        return "network namespaces need root"
    name = f"dp{os.getpid()}-try"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return f"no network namespace can be made: {tried.stderr.strip()}" if tried.returncode else ""


@contextmanager
def hosts(*names: str) -> Iterator[list[Host]]:
    """Hosts on one switch, while the context lasts."""
    made = [Host(f"dp{os.getpid()}-{name}", f"{NETWORK}.{number}") for number, name in enumerate(names, 1)]
    switch = f"dp{os.getpid()}-switch"
    with ExitStack() as undo:
        for namespace in (switch, *(host.namespace for host in made)):
            _ip("netns", "add", namespace)
            undo.callback(_ip, "netns", "del", namespace)
            _ip("-n", namespace, "link", "set", "lo", "up")
        _ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", switch, "link", "set", "bridge", "up")
        for number, host in enumerate(made):
            port = f"port{number}"
            # both ends are made inside, so that nothing is left if this process is killed but namespaces
            _ip("-n", switch, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", host.namespace)
            _ip("-n", switch, "link", "set", port, "master", "bridge", "up")
            _ip("-n", host.namespace, "address", "add", f"{host.address}/24", "dev", "eth0")
            _ip("-n", host.namespace, "link", "set", "eth0", "up")
        yield made


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
