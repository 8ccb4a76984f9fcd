"""Comes in with a company's account, as a person does: to its provider and back, and there again before something delicate.

    company.py <address of the panel>

The people are those of company/provider.mjs. With ADMIN_SCREENSHOTS=<directory> in the environment pages are stored as pictures.
"""

import sys
import tempfile

from selenium.webdriver.common.by import By

from chromium import Browser, overflow, violations

(ADDRESS,) = sys.argv[1:]


def is_good(browser, name):
    for width in 1280, 320:
        browser.size(width)
        assert not violations(browser) and overflow(browser) <= 0, (name, width, violations(browser), overflow(browser))
    browser.size(1280)
    browser.picture(f"admin-{name}-light")


def at_the_company(browser, login, amr=""):
    browser.once("the company asks", lambda: browser.find("h1").text == "Company")
    browser.fill("#login", login)
    browser.fill("#amr", amr)
    browser.find("button").click()


def whole(browser):
    browser.open("/login?to=/payments")
    is_good(browser, "sign-in-company")
    browser.driver.find_element(By.PARTIAL_LINK_TEXT, "учётной записью компании").click()
    at_the_company(browser, "stranger")
    browser.shows("среди сотрудников панели её нет")
    is_good(browser, "sign-in-refused")

    # The company still knows the stranger, and is not asked about anybody else.
    browser.driver.delete_all_cookies()
    browser.open("/login?to=/payments")
    browser.driver.find_element(By.PARTIAL_LINK_TEXT, "учётной записью компании").click()
    at_the_company(browser, "ada", "old")
    browser.once("back where she wanted to be", lambda: browser.driver.current_url == ADDRESS + "/payments")

    # She was asked an hour ago: the provider asks again, in a tab of its own, and the form waits.
    browser.open("/me/factor")
    browser.shows("вход компании спросит ещё раз")
    is_good(browser, "factor-company")
    form = browser.driver.current_window_handle
    browser.press("Настроить")
    browser.shows("спрашивает ещё раз, кто вы", "Ничего не изменено")
    browser.open("/me/factor")
    browser.driver.find_element(By.PARTIAL_LINK_TEXT, "в новой вкладке").click()
    browser.once("a tab", lambda: len(browser.driver.window_handles) == 2)
    browser.driver.switch_to.window(next(one for one in browser.driver.window_handles if one != form))
    at_the_company(browser, "ada")
    browser.shows("Вы подтвердили, кто вы", "Вернитесь к форме")
    is_good(browser, "proved-company")
    browser.driver.close()
    browser.driver.switch_to.window(form)
    browser.press("Настроить")
    browser.once("the secret is shown", lambda: browser.find("svg"))

    browser.find(".who button").click()
    browser.shows("Вы вышли отсюда")
    is_good(browser, "signed-out-company")
    complaints = browser.complaints()
    assert not complaints, complaints
    browser.driver.find_element(By.PARTIAL_LINK_TEXT, "выйти и там").click()
    browser.once("the company asks", lambda: "/session/end" in browser.driver.current_url)


with tempfile.TemporaryDirectory() as profile:
    browser = Browser(ADDRESS, profile, True)
    try:
        whole(browser)
    finally:
        browser.driver.quit()
