"""Chromium as the tests of the panel drive it. With ADMIN_SCREENSHOTS=<directory> in the environment it stores pictures there."""

import os
import shutil
import sys
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

SCREENSHOTS = os.environ.get("ADMIN_SCREENSHOTS")
SECONDS = 60
AXE = (Path(sys.executable).parent.parent / "axe/node_modules/axe-core/axe.min.js").read_text()
FLAGS = (
    "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-component-update "
    "disable-sync disable-dev-shm-usage hide-scrollbars"
)


class Browser:
    def __init__(self, address, profile, scripts):
        self.address = address
        options = ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for flag in FLAGS.split():
            options.add_argument(f"--{flag}")
        options.add_argument(f"--user-data-dir={profile}")
        options.add_argument("--lang=ru")
        prefs = {"intl.accept_languages": "ru,en"}
        if not scripts:
            prefs["profile.managed_default_content_settings.javascript"] = 2
        options.add_experimental_option("prefs", prefs)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = Chrome(options=options, service=Service(shutil.which("chromedriver")))

    def open(self, path):
        self.driver.get(self.address + path)

    def size(self, width, height=900):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def theme(self, theme):
        features = [{"name": "prefers-color-scheme", "value": theme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def text(self):
        return self.driver.find_element(By.TAG_NAME, "body").text

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def once(self, what, condition):
        try:
            WebDriverWait(self.driver, SECONDS, 0.1, ignored_exceptions=[Exception]).until(lambda _: condition())
        except Exception as error:
            raise AssertionError(f"never: {what}; {self.driver.current_url}\n{self.text()}") from error

    def shows(self, *texts):
        for text in texts:
            self.once(repr(text), lambda: text in self.text())

    def fill(self, selector, text):
        element = self.find(selector)
        element.clear()
        element.send_keys(text)

    def press(self, text):
        buttons = [one for one in self.driver.find_elements(By.CSS_SELECTOR, "main button, footer button") if text in one.text]
        assert len(buttons) == 1, (text, [one.text for one in buttons], self.text())
        buttons[0].click()

    def picture(self, name):
        if SCREENSHOTS:
            Path(SCREENSHOTS).mkdir(parents=True, exist_ok=True)
            self.driver.save_screenshot(f"{SCREENSHOTS}/{name}.png")

    def complaints(self):
        """What the browser did not like: a policy that is broken, a file that is not there."""
        severe = [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
        meant = ("status of 403", "status of 404", "status of 409", "status of 422")
        return [message for message in severe if not any(text in message for text in meant)]


def violations(browser):
    """What axe finds that keeps somebody from reading or using a page."""
    browser.driver.execute_script(AXE)
    found = browser.driver.execute_async_script(
        "const done = arguments[0]; axe.run().then(result => done(result.violations), error => done(String(error)))"
    )
    assert isinstance(found, list), found
    bad = [one for one in found if one["impact"] in ("serious", "critical")]
    return [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in bad]


def overflow(browser):
    """How many pixels a page is wider than the window."""
    return browser.driver.execute_script("return document.documentElement.scrollWidth - innerWidth")
