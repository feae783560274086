"""A real browser, and what tests ask of a page: what it loads, what it complains of, and whether it can be read."""

import json
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from local.installers.chromium import FLAGS, find_driver, find_program

WIDE, NARROW = (1280, 1600), (390, 844)

# The contrast of every text with what lies behind it (WCAG 2, 1.4.3): below 4.5, or 3 where it is large.
FAINT_TEXTS = """
const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
const light = colour => { const [r, g, b] = numbers(colour).map(c => { c /= 255;
  return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4 }); return 0.2126 * r + 0.7152 * g + 0.0722 * b };
const behind = element => { for (let e = element; e; e = e.parentElement) {
  const c = getComputedStyle(e).backgroundColor;
  const n = numbers(c); if (n.length === 3 || n[3] > 0) return c } return 'rgb(255, 255, 255)' };
const found = [];
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (texts.nextNode()) { const e = texts.currentNode.parentElement;
  if (!texts.currentNode.data.trim() || !e.getClientRects().length) continue;
  const style = getComputedStyle(e), a = light(style.color), b = light(behind(e));
  const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), size = parseFloat(style.fontSize);
  const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
  if (contrast < (large ? 3 : 4.5)) found.push([texts.currentNode.data.trim(), contrast, style.color]) }
return found;
"""


class Browser:
    """Chromium, and what it did to show a page."""

    def __init__(self, profile: Path) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = str(find_program())
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(str(find_driver())))

    def open(self, url: str, size: tuple[int, int] = WIDE, *, dark: bool = False) -> None:
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == NARROW}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        wish = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [wish]})
        self.requests()
        self.driver.get(url)

    def ask(self, script: str) -> Any:
        return self.driver.execute_script(f"return {script}")

    def texts(self, selector: str) -> list[str]:
        return [element.text for element in self.driver.find_elements(By.CSS_SELECTOR, selector)]

    def complaints(self) -> list[Any]:
        return list(self.driver.get_log("browser"))  # type: ignore[no-untyped-call]

    def requests(self) -> list[str]:
        """The addresses that were asked for since the last call, without those that hold their own data."""
        log = self.driver.get_log("performance")  # type: ignore[no-untyped-call]
        # most entries are of something else, and a player's are thousands
        asked = (entry["message"] for entry in log if '"Network.requestWillBeSent"' in entry["message"])
        urls = [json.loads(message)["message"]["params"]["request"]["url"] for message in asked]
        return [url for url in urls if not url.startswith("data:")]
