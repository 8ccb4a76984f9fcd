"""Goes through the dashboard as people do: with and without JavaScript, wide and narrow, light and dark; then acts.

    browse.py <address> <token to act>

The tasks are those of cluster.rs. With DASHBOARD_SCREENSHOTS=<directory> in the environment every page is stored there as a
picture.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

ADDRESS, TOKEN = sys.argv[1:]
SCREENSHOTS = os.environ.get("DASHBOARD_SCREENSHOTS")
SECONDS = 60
AXE = (Path(sys.executable).parent.parent / "axe/node_modules/axe-core/axe.min.js").read_text()
FLAGS = (
    "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-component-update "
    "disable-sync disable-dev-shm-usage hide-scrollbars"
)
PAGES = {
    "overview": "/",
    "workers": "/workers",
    "worker": "/workers/w%40rust",
    "worker-python": "/workers/w%40python",
    "tasks": "/tasks",
    "tasks-filtered": "/tasks?name=shop.&state=FAILURE",
    "tasks-none": "/tasks?name=nothing",
    "task": "/tasks/charged",
    "task-failed": "/tasks/failed",
    "task-unknown": "/tasks/nobody",
    "canvas": "/canvas/charged",
    "ranking": "/ranking",
    "queues": "/queues",
    "queue": "/queues/python",
    "parked": "/parked",
    "parked-queue": "/parked/shop?look=yes",
    "schedule": "/schedule",
    "entry": "/schedule/stored",
    "log": "/log",
    "sign-in": "/sign-in",
    "problem": "/nowhere",
}
# After signing in.
ACTS = {
    "worker-actions": "/workers/w%40rust",
    "preview": "/act?do=shutdown&node=w%40rust",
    "preview-wrong": "/act?do=grow&by=0",
    "parked-actions": "/parked/shop?look=yes",
    "queue-actions": "/queues/python",
    "entry-actions": "/schedule/stored",
    "preview-again": "/act?do=again&id=added",
    "preview-again-refused": "/act?do=again&id=refused",
}
WIDTHS = {"wide": 1280, "narrow": 390, "narrowest": 320}
# Which pictures are shown in the documentation.
SHOWN = {"overview", "workers", "worker-actions", "tasks", "task", "task-failed", "queues", "parked-actions", "schedule", "canvas", "ranking", "queue-actions", "entry-actions", "preview-again"}


class Browser:
    def __init__(self, profile, scripts):
        options = ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for flag in FLAGS.split():
            options.add_argument(f"--{flag}")
        options.add_argument(f"--user-data-dir={profile}")
        if not scripts:
            options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = Chrome(options=options, service=Service(shutil.which("chromedriver")))

    def open(self, path):
        self.driver.get(ADDRESS + path)

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

    def first_row(self):
        """Name and id of the first task."""
        return self.driver.execute_script("return document.querySelector('#live tbody tr').innerText.split(/\\s+/).slice(0, 2)")

    def fill(self, selector, text):
        element = self.find(selector)
        element.clear()
        element.send_keys(text)

    def follow(self, text):
        """A part of the page may be made anew just then."""
        link = lambda: self.driver.find_element(By.PARTIAL_LINK_TEXT, text)
        self.once(f"link {text}", lambda: link().click() or True)

    def press(self, selector):
        """A part of the page may be made anew just then."""
        self.once(f"button {selector}", lambda: self.find(selector).click() or True)

    def picture(self, name):
        if SCREENSHOTS:
            Path(SCREENSHOTS).mkdir(parents=True, exist_ok=True)
            self.driver.save_screenshot(f"{SCREENSHOTS}/{name}.png")

    def complaints(self):
        """What the browser did not like: a policy that is broken, a file that is not there."""
        severe = [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
        meant = ("status of 403", "status of 404", "status of 422")
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


def look(browser, pages):
    wrong = []
    for name, path in pages.items():
        for theme in "light", "dark":
            browser.theme(theme)
            for width_name, width in WIDTHS.items():
                browser.size(width)
                browser.open(path)
                found = violations(browser)
                if found or overflow(browser) > 0:
                    wrong.append((name, theme, width, overflow(browser), found))
                if name in SHOWN and width_name != "narrowest":
                    browser.picture(f"{name}-{theme}-{width_name}")
        wrong += browser.complaints()
    assert not wrong, "\n".join(map(str, wrong))


def live(browser):
    """The page moves by itself, and can be told not to; the keyboard is enough."""
    browser.size(1280)
    browser.open("/")
    browser.shows("live")
    browser.once("it is not what it was", lambda: "Listening for" in browser.find("#live").text)
    browser.find("body").send_keys("/")
    assert browser.driver.switch_to.active_element.get_attribute("id") == "find"
    browser.driver.switch_to.active_element.send_keys("charged", Keys.ENTER)
    browser.shows("Order 7", "shop.ship")
    browser.open("/tasks")
    first = browser.first_row()
    # The beat sends one a second: it is told of, and nothing moves.
    browser.shows("new – show")
    assert browser.first_row() == first
    browser.follow("new – show")
    browser.follow("Older")
    browser.shows("Newer")
    browser.open("/tasks?live=off")
    browser.shows("Keep up to date")
    assert not browser.driver.find_elements(By.CSS_SELECTOR, "main[data-live]")


def tabs(browser):
    """The ninth page of one browser is kept up to date like the first: a page that nobody sees gives its connection back."""
    first = browser.driver.current_window_handle
    for _ in range(8):
        browser.driver.switch_to.new_window("tab")
        browser.open("/tasks")
        browser.shows("● live")
    for handle in browser.driver.window_handles:
        if handle != first:
            browser.driver.switch_to.window(handle)
            browser.driver.close()
    browser.driver.switch_to.window(first)


def sign_in(browser, token=TOKEN):
    browser.open("/sign-in?to=/workers")
    browser.fill("#token", token)
    browser.fill("#name", "Ada")
    browser.find("main button").click()


def confirm(browser, reason=None):
    """Does what the preview shows, and waits for what was said to it."""
    browser.shows("What will happen")
    if reason:
        browser.fill("#why", reason)
    browser.find("main form button").click()
    browser.shows("What was said to it", "Ada")


def act(browser):
    sign_in(browser, "a wrong token")
    browser.shows("no token of this dashboard")
    sign_in(browser)
    browser.shows("Ada, may act")
    browser.open("/workers/w%40rust")
    browser.fill("input[name=by]", "3")
    browser.press("button[value=grow]")
    confirm(browser)
    browser.shows("pool will grow")
    browser.open("/workers/w%40python")
    browser.fill("input[name=task]", "python.add")
    browser.fill("input[name=limit]", "5/m")
    browser.find("input[name=limit]").send_keys(Keys.ENTER)
    confirm(browser)
    browser.shows("new rate limit set successfully")
    browser.open("/workers/w%40rust")
    browser.fill("input[name=queue]", "extra")
    browser.press("button[value=add-consumer]")
    confirm(browser)
    browser.open("/tasks/running")
    browser.press("button[value=terminate]")
    browser.shows("What will happen")
    browser.find("main form button").click()
    # Nothing is done without a reason.
    assert "/act" in browser.driver.current_url
    confirm(browser, "it hangs")
    browser.shows("w@rust", "w@python")
    browser.open("/tasks/scheduled")
    browser.press("button[value=revoke]")
    confirm(browser)
    browser.open("/parked/shop?look=yes")
    browser.find("input[value=unknown-1]").click()
    browser.press("button[value=requeue]")
    browser.shows("These messages, and no others", "unknown-1")
    assert "unknown-2" not in browser.text()
    confirm(browser)
    browser.shows("1 message requeued")
    browser.open("/parked/shop?look=yes")
    browser.find("input[value=unknown-3]").click()
    browser.press("button[value=discard]")
    confirm(browser, "nobody needs it")
    browser.shows("1 message discarded")
    again(browser)
    queue(browser)
    entry(browser)
    browser.open("/log")
    browser.shows("Terminate running", "it hangs", "Discard 1 message", "nobody needs it")
    assert not browser.complaints(), browser.complaints()


def again(browser):
    """A task is run again with what is known exactly; what is only printed is refused."""
    browser.open("/tasks/added")
    browser.press("button[value=again]")
    browser.shows("python.add is sent to python, with a new id", "[1, 2]")
    confirm(browser, "to see the sum again")
    browser.shows("sent as")
    sent = browser.text().split("sent as ")[1].split()[0]
    browser.open(f"/tasks/{sent}")
    browser.shows("SUCCESS", "python.add")
    browser.open("/act?do=again&id=refused")
    browser.shows("Nothing was done", "not known exactly")


def queue(browser):
    browser.open("/queues/python")
    browser.press("button[value=pause-queue]")
    browser.shows("These workers, and no others", "w@python")
    confirm(browser, "to look at it")
    browser.shows("no longer consuming from python")
    paused = "input[value='w@python']:checked"
    browser.once("it is not taken from", lambda: browser.open("/queues/python") or browser.find(paused))
    assert not browser.driver.find_elements(By.CSS_SELECTOR, "input[value='w@rust']:checked")
    browser.fill("input[name=typed]", "shop")
    browser.press("button[value=purge]")
    browser.shows("Nothing was done", "type the name of the queue")
    browser.open("/queues/python")
    browser.fill("input[name=typed]", "python")
    browser.press("button[value=purge]")
    browser.shows("0 messages wait there now")
    confirm(browser, "nobody needs them")
    browser.shows("0 messages were thrown away")
    browser.open("/queues/python")
    browser.press("button[value=resume-queue]")
    confirm(browser)
    browser.shows("consumer")
    browser.open("/workers/w%40python")
    form = browser.find("input[name=soft]")
    browser.driver.execute_script("arguments[0].form.elements.task.value = 'python.add'", form)
    browser.fill("input[name=soft]", "5")
    browser.fill("input[name=hard]", "9")
    browser.find("input[name=hard]").send_keys(Keys.ENTER)
    confirm(browser)
    browser.shows("time limits set successfully")


def entry(browser):
    browser.open("/schedule/tidy-up")
    assert not browser.driver.find_elements(By.CSS_SELECTOR, "button[value=pause-entry]")
    browser.press("button[value=run-entry]")
    confirm(browser)
    browser.shows("sent as")
    browser.open("/schedule/stored")
    browser.press("button[value=pause-entry]")
    confirm(browser, "it is wrong")
    browser.shows("changed")
    browser.once("it is off", lambda: browser.open("/schedule/stored") or browser.find("button[value=resume-entry]"))
    browser.fill("input[name=crontab]", "0 4 * * 1")
    browser.fill("input[name=zone]", "Europe/Moscow")
    browser.press("button[value=crontab]")
    browser.shows("Now: every 1 h")
    confirm(browser, "mondays are enough")
    browser.open("/schedule/stored")
    browser.shows("0 4 * * 1 (Europe/Moscow)")


def without_scripts(browser):
    """Every page is complete, and a filter and an action work."""
    for path in PAGES.values():
        browser.open(path)
        assert "not connected" not in browser.text()
        assert browser.driver.find_elements(By.CSS_SELECTOR, "main h1"), path
    browser.open("/tasks")
    browser.fill("input[name=name]", "python.")
    browser.find("form.filters button").click()
    browser.shows("python.fail", "python.add")
    assert "shop." not in browser.find("#live").text
    sign_in(browser)
    browser.shows("Ada, may act")
    browser.open("/act?do=revoke&id=nobody")
    confirm(browser)


def run(scripts, *steps):
    with tempfile.TemporaryDirectory() as profile:
        browser = Browser(profile, scripts)
        try:
            for step in steps:
                step(browser)
        finally:
            browser.driver.quit()


run(True, lambda browser: look(browser, PAGES), live, tabs, sign_in, lambda browser: look(browser, ACTS), act)
run(False, without_scripts)
