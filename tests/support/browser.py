"""A real headless Chromium (Debian's chromium and chromium-driver), watched: its console, its requests, its look."""

import base64
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
MISSING = "no Chromium here: apt install chromium chromium-driver"
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)


class Browser:
    """One window; `open` says what it did besides showing the file."""

    def __init__(self, driver: webdriver.Chrome):
        self.driver = driver

    def open(self, path: Path, width: int = 1440, dark: bool = False) -> tuple[list[str], list[str]]:
        """Show a file at a width; returns what the console said, and the addresses asked for."""
        self.run("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        self.run(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}],
        )
        self.driver.get("about:blank")
        self.logs()
        self.driver.get(path.as_uri())
        return self.logs()

    def logs(self) -> tuple[list[str], list[str]]:
        """The console's lines and the requests since it was last asked."""
        console = [entry["message"] for entry in self.driver.get_log("browser")]
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        asked = [
            event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"
        ]
        return console, [url for url in asked if not url.startswith(("data:", "about:"))]

    def run(self, command: str, **arguments: Any) -> Any:
        """A command of the DevTools protocol."""
        return self.driver.execute_cdp_cmd(command, arguments)

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        return self.driver.execute_script(f"return {expression}")

    def picture(self, path: Path) -> None:
        """The whole page as a PNG file."""
        image = self.run("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(image["data"]))

    def paper(self) -> bytes:
        """The page as printed, a PDF."""
        return base64.b64decode(
            self.run("Page.printToPDF", printBackground=True, paperWidth=8.27, paperHeight=11.69)["data"]
        )


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser with an empty profile of its own, ended afterwards."""
    with tempfile.TemporaryDirectory(prefix="vaex-chromium-", ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM or ""
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        driver = webdriver.Chrome(options=options, service=Service(DRIVER))
        try:
            yield Browser(driver)
        finally:
            driver.quit()
