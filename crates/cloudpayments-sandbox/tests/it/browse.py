"""Goes through the sandbox's pages as people do: reads the statement, gives money back, plays the bank, pays an order.

    browse.py <address> <payment's id> <order's link>

With SANDBOX_SCREENSHOTS=<directory> in the environment every page is stored there as a picture.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

ADDRESS, PAYMENT, ORDER = sys.argv[1:]
SCREENSHOTS = os.environ.get("SANDBOX_SCREENSHOTS")
AXE = (Path(sys.executable).parent.parent / "axe/node_modules/axe-core/axe.min.js").read_text()
FLAGS = (
    "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-component-update "
    "disable-sync disable-dev-shm-usage hide-scrollbars"
)


def start(profile):
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in FLAGS.split():
        options.add_argument(f"--{flag}")
    options.add_argument(f"--user-data-dir={profile}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return Chrome(options=options, service=Service(shutil.which("chromedriver")))


def violations():
    driver.execute_script(AXE)
    found = driver.execute_async_script(
        "const done = arguments[0]; axe.run().then(result => done(result.violations), error => done(String(error)))"
    )
    assert isinstance(found, list), found
    bad = [one for one in found if one["impact"] in ("serious", "critical")]
    return [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in bad]


def look(name):
    """The page as it stands, light and dark, wide and narrow: readable, and no wider than its window."""
    for theme in "light", "dark":
        features = [{"name": "prefers-color-scheme", "value": theme}]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        for width in 1280, 360:
            metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            wider = driver.execute_script("return document.documentElement.scrollWidth - innerWidth")
            assert wider <= 0, (name, theme, width, wider)
            if SCREENSHOTS:
                Path(SCREENSHOTS).mkdir(parents=True, exist_ok=True)
                driver.save_screenshot(f"{SCREENSHOTS}/{name}-{theme}-{width}.png")
        found = violations()
        assert not found, (name, theme, found)
    elsewhere = driver.execute_script(
        "return performance.getEntries().map(entry => entry.name).filter(name => /^https?:/.test(name))"
    )
    assert all(address.startswith(ADDRESS) for address in elsewhere), elsewhere
    severe = [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    assert not [message for message in severe if "favicon" not in message], severe


def shows(*texts):
    """Waits for each; the page may be changing just then."""
    for text in texts:
        body = lambda _: text in driver.find_element(By.TAG_NAME, "body").text
        WebDriverWait(driver, 30, 0.1, ignored_exceptions=[Exception]).until(body, text)


def press(label):
    driver.find_element(By.XPATH, f"//button[normalize-space()='{label}']").click()


def fill(selector, text):
    element = driver.find_element(By.CSS_SELECTOR, selector)
    element.clear()
    element.send_keys(text)


def statement():
    driver.get(ADDRESS + "/statement")
    shows(PAYMENT, "5051 InsufficientFunds", "invoice-7")
    look("statement")
    fill("input[name=q]", "invoice-7")
    press("Find")
    one_row = lambda _: len(driver.find_elements(By.CSS_SELECTOR, "tbody tr")) == 1
    WebDriverWait(driver, 30, 0.1).until(one_row)
    driver.find_element(By.LINK_TEXT, PAYMENT).click()
    shows("Payment " + PAYMENT, "Completed", "pay", "accepted", "<b>not bold</b>")
    look("payment")
    driver.find_element(By.CSS_SELECTOR, "[aria-label='Send again the pay notification']").click()
    shows("Sent again: accepted.")
    fill("form[action$=refund] input", "4")
    press("Refund")
    shows("was made.", "Refunds and chargebacks", "4.00, Completed")
    fill("form[action$=refund] input", "400")
    press("Refund")
    shows("Amount is larger than what is left to refund.")
    press("Charge back")
    shows("The bank took the payment back.", "Chargeback ")
    look("payment-after")


def order():
    driver.get(ORDER)
    shows("Билет в кино", "10.00 RUB", "Created")
    look("order")
    driver.find_element(By.CSS_SELECTOR, "input[value='4012888888881881']").click()
    press("Pay")
    shows("The bank wants to know that it is you")
    press("To the bank")
    shows("Confirm the payment")
    press("Confirm")
    shows("The last payment was not made.")
    press("Pay")
    shows("The bank wants to know that it is you")
    press("To the bank")
    shows("Confirm the payment")
    press("Confirm")
    shows("Paid")
    look("order-paid")


with tempfile.TemporaryDirectory() as profile:
    driver = start(profile)
    try:
        statement()
        order()
    finally:
        driver.quit()
print("all is as told")
