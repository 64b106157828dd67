"""A page in headless Chromium, driven over its debugging protocol: enough for the tests of the report, with nothing to install."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE = 60.0  # seconds


class Tab:
    """One page. `errors` are its console errors and refused loads, `requests` what it asked for beside data and itself."""

    def __init__(self, page: Path, folder: Path, width: int = 1280, height: int = 900) -> None:
        from websockets.sync.client import connect

        flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0")
        profile = folder / "profile"
        self._process = subprocess.Popen(
            [str(CHROMIUM), *flags, f"--user-data-dir={profile}", f"--window-size={width},{height}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.downloads = folder / "downloads"
        self._numbers = itertools.count(1)
        port, address = self._wait(profile / "DevToolsActivePort").splitlines()[:2]
        self._socket = connect(f"ws://127.0.0.1:{port}{address}", max_size=None, proxy=None)
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session: str | None = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")
        self.ask("Page.setDownloadBehavior", behavior="allow", downloadPath=str(self.downloads))
        self.size(width, height)
        self.ask("Page.navigate", url=page.as_uri())
        self.until("document.readyState === 'complete'")

    def _wait(self, path: Path) -> str:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if path.is_file() and path.read_text().count("\n"):
                return path.read_text()
            time.sleep(0.05)
        raise TimeoutError("Chromium did not start")

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the protocol; what the page says meanwhile is kept."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if getattr(self, "_session", None):
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        while True:
            told = json.loads(self._socket.recv(timeout=PATIENCE))
            if told.get("id") == number:
                if "error" in told:
                    raise RuntimeError(f"{method}: {told['error']}")
                return told["result"]
            self._hear(told.get("method", ""), told.get("params", {}))

    def _hear(self, method: str, params: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.errors.append(str(params["exceptionDetails"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            url = params["request"]["url"]
            if not url.startswith(("data:", "blob:", "about:")):
                self.requests.append(url)

    def js(self, expression: str) -> Any:
        """The value of an expression in the page."""
        result = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(str(result["exceptionDetails"]))
        return result["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait until an expression holds."""
        end = time.monotonic() + PATIENCE
        while not self.js(expression):
            if time.monotonic() > end:
                raise TimeoutError(expression)
            time.sleep(0.05)

    def key(self, key: str) -> None:
        """Press a key."""
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, **({"text": key} if len(key) == 1 else {}))

    def size(self, width: int, height: int) -> None:
        """The size of the window."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def downloaded(self, name: str) -> str:
        """The text of a file that the page gave out."""
        end = time.monotonic() + PATIENCE
        while not (self.downloads / name).is_file():
            if time.monotonic() > end:
                raise TimeoutError(name)
            time.sleep(0.05)
        return (self.downloads / name).read_text(encoding="utf-8")

    def close(self) -> None:
        """End Chromium."""
        self._socket.close()
        self._process.terminate()
        self._process.wait(20)
