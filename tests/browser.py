"""Drives Chromium by the Chrome DevTools Protocol, over two pipes."""

import contextlib
import functools
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import time

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
TIMEOUT_S = 120
# The browser reads commands from descriptor 3 and writes answers to descriptor 4.
START = """
import fcntl, os, sys
r, w = (fcntl.fcntl(int(n), fcntl.F_DUPFD, 10) for n in sys.argv[1:3])
os.dup2(r, 3)
os.dup2(w, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--remote-debugging-pipe", "--window-size=1500,900"),
)
# Of keys that are no letters: code and number.
KEY_CODES = {
    "Enter": 13, "Escape": 27, "PageUp": 33, "PageDown": 34, "Home": 36,
    "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40,
}  # fmt: skip
SHIFT, CONTROL = 8, 2


class Page:
    """A page in a browser."""

    def __init__(self, send):
        target = send("", "Target.createTarget", url="about:blank")["targetId"]
        attached = send("", "Target.attachToTarget", targetId=target, flatten=True)
        self.send = functools.partial(send, attached["sessionId"])
        self.tab = functools.partial(Page, send)  # Opens another page.

    def open(self, path):
        """Opens a file and waits until it is loaded."""
        self._load("Page.navigate", url=path.as_uri())

    def reload(self):
        self._load("Page.reload")

    def _load(self, method, **params):
        """Waits for a document that lacks the mark of the one before."""
        self("window.isOld = true")
        self.send(method, **params)
        self.wait("!window.isOld && document.readyState == 'complete'")

    def __call__(self, script):
        """Returns the value of JavaScript."""
        got = self.send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in got, got
        return got["result"].get("value")

    def wait(self, script):
        """Waits until JavaScript gives a true value, and returns it."""
        end = time.monotonic() + TIMEOUT_S
        while time.monotonic() < end:
            with contextlib.suppress(AssertionError):  # While the page is replaced.
                if value := self(script):
                    return value
            time.sleep(0.05)
        raise TimeoutError(script)

    def press(self, *keys):
        """Presses keys, such as "x", "Enter", "Shift+ArrowUp" or "Control+z"."""
        for key in keys:
            *modifiers, name = key.split("+") if len(key) > 1 else [key]
            held = SHIFT * ("Shift" in modifiers) + CONTROL * ("Control" in modifiers)
            code = KEY_CODES.get(name) or ord(name.upper()) * name.isalnum()
            about = {"key": name, "windowsVirtualKeyCode": code, "modifiers": held}
            text = {"text": name} if len(name) == 1 and not held else {}
            self.send("Input.dispatchKeyEvent", type="keyDown", **about, **text)
            self.send("Input.dispatchKeyEvent", type="keyUp", **about)

    def drag(self, *points):
        """Presses the mouse at the first point, drags it, releases it at the last."""
        kinds = ["mousePressed", *["mouseMoved"] * (len(points) - 1), "mouseReleased"]
        for kind, (x, y) in zip(kinds, [*points, points[-1]], strict=True):
            about = {"button": "left", "buttons": int(kind != "mouseReleased")}
            self.send(
                "Input.dispatchMouseEvent", type=kind, x=x, y=y, clickCount=1, **about
            )

    def click(self, selector):
        place = "(({x, y, width, height}) => [x + width / 2, y + height / 2])"
        box = f"document.querySelector({selector!r}).getBoundingClientRect()"
        self.drag(self(f"{place}({box})"))


@contextlib.contextmanager
def page(profile, downloads):
    """Yields a page of a browser with this profile; it saves files to a folder."""
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()
    command = [sys.executable, "-c", START, str(to_read), str(from_write), BROWSER]
    process = subprocess.Popen(
        [*command, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
        pass_fds=(to_read, from_write),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_read)
    os.close(from_write)
    numbers, rest = itertools.count(1), bytearray()

    def send(session, method, **params):
        number = next(numbers)
        message = {"id": number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(to_write, json.dumps(message).encode() + b"\0")
        while True:
            answer = _message(from_read, rest)
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    try:
        send(
            "", "Browser.setDownloadBehavior", behavior="allow",
            downloadPath=str(downloads), eventsEnabled=True,
        )  # fmt: skip
        yield Page(send)
        send("", "Browser.close")
    finally:
        os.close(to_write)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()
        os.close(from_read)


def _message(pipe, rest):
    """Reads one message, which ends with a zero byte; `rest` keeps what follows it."""
    while b"\0" not in rest:
        ready, _, _ = select.select([pipe], [], [], TIMEOUT_S)
        if not ready:
            raise TimeoutError("the browser does not answer")
        if not (more := os.read(pipe, 1 << 16)):
            raise ConnectionError("the browser has ended")
        rest += more
    message, _, after = bytes(rest).partition(b"\0")
    rest[:] = after
    return json.loads(message)
