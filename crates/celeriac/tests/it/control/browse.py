"""Looks at a worker in Flower as a person does, in Chromium, and presses its buttons.

    browse.py <address of Flower>

The worker w@test has run the tasks that flower.rs tells of. With FLOWER_SCREENSHOTS=<directory> in the environment
every page is also stored there as a picture.
"""

import os
import re
import shutil
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

ADDRESS = sys.argv[1]
SCREENSHOTS = os.environ.get("FLOWER_SCREENSHOTS")
SECONDS = 60
FLAGS = (
    "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-component-update "
    "disable-sync disable-dev-shm-usage window-size=1500,1000"
)


def chromium(profile):
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in FLAGS.split():
        options.add_argument(f"--{flag}")
    options.add_argument(f"--user-data-dir={profile}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return Chrome(options=options, service=Service(shutil.which("chromedriver")))


class Page:
    """What the browser shows."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, path):
        self.driver.get(ADDRESS + path)

    def find(self, selector):
        """The elements, once there are some."""
        return self.once(selector, lambda: self.driver.find_elements(By.CSS_SELECTOR, selector))

    def text(self, selector):
        return self.find(selector)[0].text

    def rows(self, selector):
        """The texts of a table's cells, also of those that are scrolled out of sight."""
        rows = f"[...document.querySelectorAll('{selector} tbody tr')]"
        texts = "row => [...row.cells].map(cell => cell.innerText.trim())"
        return self.driver.execute_script(f"return {rows}.map({texts})")

    def once(self, what, condition):
        """Waits for a condition; what it read last is told if it never holds."""
        seen = []

        def holds(_):
            seen[:] = [condition()]
            return seen[0]

        try:
            return WebDriverWait(self.driver, SECONDS, 0.1, ignored_exceptions=[Exception]).until(holds)
        except Exception as error:
            self.picture("failure")
            raise AssertionError(
                f"never: {what}; last seen: {seen}; {self.driver.current_url}\n{self.body()}"
            ) from error

    def body(self):
        return self.driver.execute_script("return document.body.innerText")

    def shows(self, *texts):
        for text in texts:
            self.once(repr(text), lambda: text in self.body())

    def press(self, selector, says=None):
        """Presses a button, and waits for the message that Flower then shows."""
        element = self.find(selector)[0]
        self.once(f"{selector} can be pressed", lambda: element.is_displayed() and element.is_enabled())
        element.click()
        if says:
            self.once(says, lambda: any(says in toast.text for toast in self.find(".toast")))
            self.driver.execute_script("document.querySelectorAll('.toast').forEach(toast => toast.remove())")

    def fill(self, selector, text):
        element = self.find(selector)[0]
        element.clear()
        element.send_keys(text)

    def tab(self, name):
        self.press(f"#worker-tab-{name}")
        self.once(f"tab {name}", lambda: self.find(f"#tab-{name}.active.show"))

    def picture(self, name):
        if SCREENSHOTS:
            Path(SCREENSHOTS).mkdir(parents=True, exist_ok=True)
            self.driver.save_screenshot(f"{SCREENSHOTS}/{name}.png")

    def complaints(self):
        """What went wrong in the browser since it was asked last, but for what Flower refuses with a message."""
        severe = [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
        return [message for message in severe if "status of 403" not in message]


def is_now(text):
    """Whether a time as Flower shows it was a few minutes ago at most."""
    shown = datetime.strptime(text.removesuffix(" UTC"), "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=timezone.utc)
    return abs((datetime.now(timezone.utc) - shown).total_seconds()) < 600


def workers(page):
    page.open("/workers")
    counts = lambda: [row for row in page.rows("#workers-table") if row[:6] == COUNTS]
    shown = page.once("the counts of the worker", counts)
    assert re.fullmatch(r"[\d.]+\s+[\d.]+\s+[\d.]+", shown[0][6]), shown
    totals = {name: page.text(f"#workers-{name}") for name in ("online", "active", "succeeded", "failed")}
    assert totals == {"online": "1", "active": "1", "succeeded": "2", "failed": "2"}, totals
    page.picture("workers")


# Name, status, active, processed (a retry counts again), failed, succeeded.
COUNTS = ["w@test", "Online", "1", "7", "2", "2"]
TASKS = [
    ("t.add", "scheduled", "RECEIVED", False),
    ("t.wait", "running", "STARTED", False),
    ("t.echo", "echoed", "SUCCESS", True),
    ("t.autoretry", "retried", "FAILURE", False),
    ("t.fail_unacknowledged", "failed", "FAILURE", False),
    ("t.add", "added", "SUCCESS", True),
]


def tasks(page):
    page.open("/tasks")
    page.once("six tasks", lambda: len(page.rows("#tasks-table")) == 6)
    rows = page.rows("#tasks-table")
    shown = [(name, uuid, state, runtime.endswith("s")) for name, uuid, state, _, runtime, _ in rows]
    assert sorted(shown) == sorted(TASKS), rows
    assert all(is_now(row[3]) and row[5] == "w@test" for row in rows), rows
    page.picture("tasks")
    page.press('.task-state-filter[data-task-state="FAILURE"]')
    page.once("what failed", lambda: sorted(row[1] for row in page.rows("#tasks-table")) == ["failed", "retried"])
    page.press('.task-state-filter[data-task-state=""]')


def details(page, uuid, **expected):
    """The page of a task: texts by label, with a blank for an underscore."""
    page.open(f"/task/{uuid}")
    page.picture(f"task-{uuid}")
    pairs = page.driver.execute_script(
        "const text = (row, tag) => row.querySelector(tag).innerText.trim();"
        "return [...document.querySelectorAll('.detail-row')].map(row => [text(row, 'dt'), text(row, 'dd')])"
    )
    shown = {label.lower(): text for label, text in pairs}
    for label, text in expected.items():
        assert shown.get(label.replace("_", " ")) == text, (uuid, label, text, shown)
    times = [name for name in ("received", "started", "succeeded", "failed", "retried") if name in shown]
    assert "received" in times and all(is_now(shown[name]) for name in times), (uuid, shown)
    assert shown["worker"] == "w@test" and shown["uuid"].startswith(uuid) and "None" not in shown["timestamp"], shown
    return shown


def task_pages(page):
    details(
        page,
        "added",
        name="t.add",
        status="SUCCESS",
        arguments="()",
        keyword_arguments="{'x': 20, 'y': 22}",
        result="42",
        retries="0",
    )
    value = "{'<b>bold</b>': ['it\\'s', 'снег ☃', None, 1.5]}"
    details(page, "echoed", status="SUCCESS", keyword_arguments="{'value': " + value + "}", result=value)
    details(page, "failed", status="FAILURE", exception="PaymentDeclined('insufficient funds', 402)", result="None")
    retried = details(
        page, "retried", status="FAILURE", retries="1", exception="ParseIntError('invalid digit found in string')"
    )
    assert "parent id" in retried and "eta" in retried, retried
    details(page, "running", name="t.wait", status="STARTED")
    scheduled = details(page, "scheduled", status="RECEIVED", keyword_arguments="{'x': 1, 'y': 2}")
    assert scheduled["eta"].endswith("+00:00"), scheduled


def worker_page(page):
    page.open("/worker/w@test")
    page.shows("Celeriac.worker:Pool", "Max concurrency\t2")
    page.picture("worker-pool")
    for tab, texts in {
        "broker": ["Hostname\t127.0.0.1", "Userid\tguest", "Transport\tamqp", "Heartbeat\t"],
        "queues": ["celery\tFalse\tTrue\tcelery\tFalse\tNone\tNone\tNone\tFalse"],
        "tasks": ["t.autoretry\t2", "t.wait\trunning\tFalse\t", "t.add\tscheduled"],
        "limits": ["t.limited [rate_limit=10/s]", "t.add"],
        "config": ["broker_url\tamqp://guest:********@", "worker_concurrency\t2"],
        "system": ["maxrss", "utime\t"],
        "other": ["uptime\t"],
    }.items():
        page.tab(tab)
        page.shows(*texts)
        page.picture(f"worker-{tab}")


def broker(page):
    page.open("/broker")

    def celery():
        page.driver.refresh()
        # Messages, unacknowledged, ready: what runs and what is scheduled.
        return [row for row in page.rows("#queue-table") if row[:4] == ["celery", "2", "2", "0"]]

    page.once("the queue", celery)
    page.picture("broker")


def limits_and_pool(page):
    page.open("/worker/w@test#tab-limits")
    page.tab("limits")
    page.fill('[aria-label="Rate limit for t.add"]', "5")
    page.press('[id="task-rate-limit-t.add"]', "new rate limit set successfully")
    page.fill('[aria-label="Timeout for t.add"]', "20")
    page.press('[id="task-timeout-hard-t.add"]', "time limits set successfully")
    page.press('[id="task-timeout-soft-t.add"]', "time limits set successfully")
    page.tab("pool")
    page.fill("#pool-size", "3")
    page.press("#worker-pool-grow", "Growing 'w@test' worker's pool by 3")
    page.fill("#pool-size", "1")
    page.press("#worker-pool-shrink", "Shrinking 'w@test' worker's pool by 1")
    page.fill("#min-autoscale", "1")
    page.fill("#max-autoscale", "9")
    page.press("#worker-pool-autoscale", "Autoscale not enabled")
    page.tab("queues")
    page.fill("#add-consumer-name", "extra")
    page.press("#worker-add-consumer", "add consumer extra")
    page.press("#worker-cancel-consumer-celery", "no longer consuming from celery")
    action(page, "worker-pool-restart", "Pool restarts not enabled")
    action(page, "worker-refresh", "Successfully refreshed")
    page.open("/worker/w@test")
    page.tab("pool")
    page.shows("Max concurrency\t4")
    page.tab("limits")
    page.shows("t.add [rate_limit=5]")
    page.tab("queues")
    page.shows("extra\tFalse\tTrue\textra")
    assert "celery\tFalse" not in page.body()
    page.picture("worker-changed")


def action(page, button, says):
    page.press("#worker-group")
    page.press(f"#{button}", says)


def revoke(page):
    page.open("/task/running")
    page.press("#task-terminate", "Revoked 'running'")

    def state():
        page.open("/task/running")
        return page.text(".detail-row .badge") == "REVOKED"

    page.once("the task is shown as revoked", state)
    page.picture("task-terminated")
    page.open("/task/scheduled")
    page.press("#task-revoke", "Revoked 'scheduled'")


def shut_down(page):
    page.open("/worker/w@test")
    action(page, "worker-shutdown", "Shutting down!")
    page.open("/workers")
    page.once("the worker is offline", lambda: page.rows("#workers-table")[0][:2] == ["w@test", "Offline"])
    page.picture("workers-offline")


with tempfile.TemporaryDirectory() as profile:
    driver = chromium(profile)
    try:
        page = Page(driver)
        for step in workers, tasks, task_pages, worker_page, broker, limits_and_pool, revoke, shut_down:
            step(page)
            complaints = page.complaints()
            assert not complaints, (step.__name__, complaints)
    finally:
        driver.quit()
