"""Pictures of pages by Chromium, through its debugging pipe: one browser for all, exact sizes, no waiting by guess."""

import base64
import json
import os
import subprocess
import tempfile
import time


class Browser:
    def __init__(self):
        self.profile = tempfile.TemporaryDirectory(prefix="look-", ignore_cleanup_errors=True)
        to_read, self.to_browser = os.pipe()
        self.from_browser, to_write = os.pipe()

        command = [
            "chromium",
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--force-color-profile=srgb",
            "--remote-debugging-pipe",
            f"--user-data-dir={self.profile.name}",
            "about:blank",
        ]
        # Chromium reads from descriptor 3 and writes to 4. A shell puts them there: Python's preexec_fn may wait
        # forever in a process that has threads, and the engine has many.
        self.process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{to_read} 4>&{to_write}', "bash", *command],
            pass_fds=(to_read, to_write),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self.number, self.buffer, self.complaints = 0, b"", []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.page = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Runtime.enable", self.page)
        self.call("Page.enable", self.page)
        # As an official's: 1.234,5.
        self.call("Emulation.setLocaleOverride", self.page, locale="vi-VN")

    def call(self, method, page=None, **parameters):
        """Asks the browser, and waits for its answer; what pages complain of meanwhile is kept."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters} | ({"sessionId": page} if page else {})
        os.write(self.to_browser, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self.buffer:
                some = os.read(self.from_browser, 1 << 20)
                if not some:
                    raise RuntimeError("Chromium has ended")
                self.buffer += some
            line, self.buffer = self.buffer.split(b"\0", 1)
            answer = json.loads(line)
            if answer.get("method") == "Runtime.exceptionThrown":
                details = answer["params"]["exceptionDetails"]
                self.complaints.append(details.get("exception", {}).get("description", details["text"])[:400])
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def picture(self, url, width, height, file):
        """Waits until the page says that it is ready (window.lookReady), at most 60 s."""
        self.complaints.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride",
            self.page,
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.call("Page.navigate", self.page, url=url)
        deadline = time.monotonic() + 60
        while (
            self.call("Runtime.evaluate", self.page, expression="window.lookReady === true")["result"].get("value")
            is not True
        ):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{url} is not drawn after 60 s: {self.complaints}")
            time.sleep(0.1)
        data = self.call(
            "Page.captureScreenshot",
            self.page,
            format="png",
            clip={"x": 0, "y": 0, "width": width, "height": height, "scale": 1},
        )["data"]
        file.write_bytes(base64.b64decode(data))
        return list(self.complaints)

    def close(self):
        self.call("Browser.close")
        self.process.wait(timeout=10)
        os.close(self.to_browser)
        os.close(self.from_browser)
        self.profile.cleanup()
