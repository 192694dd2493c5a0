"""A headless Chromium driven over its pipe: commands to file 3, answers from file 4, a zero byte after each."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
    "--remote-debugging-pipe",
)
_PATIENCE = 60.0  # s: a loaded machine starts a browser slowly


def find_chromium() -> str | None:
    """Path of a Chromium, None where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((found for found in map(shutil.which, names) if found), None)


class Page:
    """One page of a browser that ends with it."""

    def __init__(self, folder: Path) -> None:
        to_read, self._out = os.pipe()
        self._in, to_write = os.pipe()

        def place_files() -> None:
            os.dup2(to_read, 63)
            os.dup2(to_write, 64)
            os.dup2(63, 3)
            os.dup2(64, 4)

        self._process = subprocess.Popen(
            [str(find_chromium()), *_FLAGS, f"--user-data-dir={folder}", "about:blank"],
            preexec_fn=place_files,
            close_fds=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self._rest = b""
        self._number = 0
        self._session = ""
        self.events: list[Mapping[str, Any]] = []
        targets = self.send("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        self._session = self.send("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to a command of the DevTools protocol."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            if not select.select([self._in], [], [], _PATIENCE)[0]:
                raise RuntimeError("the browser does not answer")
            piece = os.read(self._in, 1 << 20)
            if not piece:
                raise RuntimeError("the browser has ended")
            self._rest += piece
        text, _, self._rest = self._rest.partition(b"\0")
        answer: dict[str, Any] = json.loads(text)
        return answer

    # -- what a person does and sees

    def size(self, width: int, height: int) -> None:
        """Size of the window."""
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )

    def scheme(self, name: str) -> None:
        """Light or dark."""
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def open(self, address: str) -> None:
        """Go somewhere and wait until the viewer is ready."""
        self.send("Page.navigate", url="about:blank")
        self.send("Page.navigate", url=address)
        self.wait("document.body && document.body.dataset.ready")

    def ask(self, expression: str) -> Any:
        """Value of a JavaScript expression."""
        found = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(str(found["exceptionDetails"])[:600])
        return found["result"].get("value")

    def wait(self, condition: str) -> Any:
        """Value of an expression as soon as it is true."""
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            found = self.ask(condition)
            if found:
                return found
            time.sleep(0.02)
        raise AssertionError(f"never true: {condition}; the page says: {self.ask('document.body.innerText')[:600]}")

    def box(self, selector: str) -> dict[str, float]:
        """Where an element is."""
        self.ask(f"document.querySelector({selector!r}).scrollIntoView({{block: 'center'}})")
        found: dict[str, float] = self.ask(
            f"(() => {{ const b = document.querySelector({selector!r}).getBoundingClientRect();"
            " return {x: b.x, y: b.y, width: b.width, height: b.height}; })()"
        )
        return found

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """A move, press, release or wheel of the mouse."""
        self.send(
            "Input.dispatchMouseEvent",
            **{"type": f"mouse{kind}", "x": x, "y": y, "button": "left", "clickCount": 1, **more},
        )

    def drag(self, selector: str, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag from one place to another, shares of an element's size from its upper left corner."""
        box = self.box(selector)
        places = [(box["x"] + a * box["width"], box["y"] + b * box["height"]) for a, b in (start, end)]
        self.mouse("Pressed", *places[0], buttons=1)
        if start != end:
            self.mouse("Moved", (places[0][0] + places[1][0]) / 2, (places[0][1] + places[1][1]) / 2, buttons=1)
            self.mouse("Moved", *places[1], buttons=1)
        self.mouse("Released", *places[1])

    def click(self, selector: str, at: tuple[float, float] = (0.5, 0.5)) -> None:
        """Click into an element."""
        self.drag(selector, at, at)

    def key(self, name: str, modifiers: int = 0) -> None:
        """Press a key; 8 is Shift."""
        text = {"text": name} if len(name) == 1 else {}
        code = {
            "Tab": 9,
            "PageUp": 33,
            "PageDown": 34,
            "End": 35,
            "Home": 36,
            "ArrowLeft": 37,
            "ArrowUp": 38,
            "ArrowRight": 39,
            "ArrowDown": 40,
        }.get(name, ord(name[0].upper()))
        self.send(
            "Input.dispatchKeyEvent", type="keyDown", key=name, modifiers=modifiers, windowsVirtualKeyCode=code, **text
        )
        self.send("Input.dispatchKeyEvent", type="keyUp", key=name, modifiers=modifiers, windowsVirtualKeyCode=code)

    def pixel(self, selector: str, x: float, y: float) -> tuple[int, ...]:
        """Red, green, blue, alpha of a canvas at shares of its size from its upper left corner."""
        return tuple(
            self.ask(
                f"(() => {{ const c = document.querySelector({selector!r});"
                f" return [...c.getContext('2d').getImageData({x} * c.width, {y} * c.height, 1, 1).data]; }})()"
            )
        )

    def picture(self) -> bytes:
        """A PNG of the window."""
        return base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"])

    def whole_picture(self) -> bytes:
        """A PNG of the whole page."""
        return base64.b64decode(self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"])

    def complaints(self) -> list[str]:
        """Errors that the page has written to its console."""
        self.ask("1")
        found = []
        for event in self.events:
            told = event.get("params", {})
            if event.get("method") == "Runtime.exceptionThrown":
                found.append(str(told["exceptionDetails"])[:400])
            if event.get("method") == "Log.entryAdded" and told["entry"]["level"] == "error":
                found.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
            if event.get("method") == "Runtime.consoleAPICalled" and told["type"] == "error":
                found.append(str(told["args"])[:400])
        return found

    def close(self) -> None:
        """End the browser."""
        try:
            self.send("Browser.close")
        except (OSError, RuntimeError):
            self._process.kill()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)
        os.close(self._out)
