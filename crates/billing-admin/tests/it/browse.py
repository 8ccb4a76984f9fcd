"""Goes through the panel as people do: with and without JavaScript, wide and narrow, light and dark; then acts.

    browse.py <address> <three one-time passwords> <account> <paid payment> <bill> <declined payment> <payment in doubt>

The rows are those of browser.rs. With ADMIN_SCREENSHOTS=<directory> in the environment the pages are stored there as pictures.
"""

import sys
import tempfile

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from chromium import Browser, overflow, violations

ADDRESS, CHIEF, SECOND, ADMIN, ACCOUNT, PAID, BILL, DECLINED, UNKNOWN = sys.argv[1:]
OWN = "correct horse battery"
PAGES = {
    "home": "/",
    "accounts": "/accounts",
    "accounts-none": "/accounts?status=Overdue",
    "account": f"/accounts/{ACCOUNT}",
    "bills": "/bills",
    "bill": f"/bills/{BILL}",
    "payments": "/payments",
    "payment": f"/payments/{PAID}",
    "payment-declined": f"/payments/{DECLINED}",
    "payment-unknown": f"/payments/{UNKNOWN}",
    "cancel": f"/accounts/{ACCOUNT}/cancel",
    "extend": f"/accounts/{ACCOUNT}/extend?days=3",
    "extend-refused": f"/accounts/{ACCOUNT}/extend?days=0",
    "refund": f"/payments/{PAID}/refund",
    "close": f"/payments/{UNKNOWN}/close?ending=not_taken",
    "close-too-little": f"/payments/{UNKNOWN}/close?ending=taken",
    "bulk-refund": "/payments/refund?state=succeeded",
    "bulk": "/bulk",
    "approvals": "/approvals",
    "receipts-missing": f"/payments/{PAID}/receipts",
    "refund-refused": f"/payments/{DECLINED}/refund",
    "refunds": "/refunds",
    "tariffs": "/tariffs",
    "receipts": "/receipts",
    "notifications": "/notifications",
    "differences": "/differences",
    "events": "/events",
    "events-none": "/events?kind=receipt_issued",
    "rules": "/rules",
    "rule": "/settings/rule/5051",
    "reports": "/reports",
    "reports-subscribers": "/reports/subscribers",
    "reports-approval": "/reports/approval",
    "reports-recovery": "/reports/recovery",
    "reports-deferred": "/reports/deferred",
    "reports-cohorts": "/reports/cohorts?from=2024-01-01",
    "reports-gateway": "/reports/gateway",
    "reports-open": "/reports/open",
    "settings": "/settings",
    "setting-schedule": "/settings/schedule/soft?hours=29,72",
    "find": "/find?q=what",
    "audit": "/audit",
    "me": "/me",
    "second-factor": "/me/factor",
    "problem": "/nowhere",
}
# Which pictures are shown in the documentation.
SHOWN = {"close", "home", "accounts", "account", "payments", "payment-unknown", "payment-declined", "extend", "refund", "audit", "events", "tariffs", "me", "reports", "reports-subscribers", "reports-deferred", "reports-cohorts", "reports-gateway", "reports-open", "settings", "setting-schedule"}
WIDTHS = {"wide": 1280, "narrow": 390, "narrowest": 320}


def look(browser, pages):
    wrong = []
    for name, path in pages.items():
        browser.open(path)
        for theme in "light", "dark":
            browser.theme(theme)
            for width_name, width in WIDTHS.items():
                browser.size(width)
                found = violations(browser) if (theme, width_name) != ("dark", "narrowest") else []
                if found or overflow(browser) > 0:
                    wrong.append((name, theme, width, overflow(browser), found))
                if name in SHOWN and (theme, width_name) in (("light", "wide"), ("dark", "narrow")):
                    browser.picture(f"admin-{name}-{theme}")
        assert browser.driver.find_elements(By.CSS_SELECTOR, "main h1"), path
        assert "{" not in browser.find("h1").text, path
    browser.theme("light")
    browser.size(1280)
    assert not wrong, wrong


def sign_in(browser, name, password, own=OWN):
    browser.open("/login?to=/payments")
    browser.fill("#name", name)
    browser.fill("#password", password)
    browser.find("main button").click()
    if password != own:
        browser.shows("Задайте свой")
        browser.fill("#present", password)
        browser.fill("#new", own)
        browser.fill("#again", own)
        browser.find("form[action='/me/password'] button").click()
    browser.once(f"{name} is in", lambda: browser.find(".who").text.startswith(name))


def sign_out(browser):
    browser.find(".who button").click()
    browser.once("signed out", lambda: browser.find("#password"))


def confirm(browser, path, reason, button):
    browser.open(path)
    browser.shows("Что произойдёт")
    browser.fill("#reason", reason)
    browser.press(button)


def find(browser):
    """One box for everything, by the keyboard alone."""
    browser.open("/")
    browser.find("body").send_keys("/")
    browser.once("the box has the focus", lambda: browser.driver.switch_to.active_element.get_attribute("id") == "find")
    browser.driver.switch_to.active_element.send_keys("1002", Keys.ENTER)
    browser.shows("Отказ", "5051", "Недостаточно средств на карте")
    browser.open("/")
    browser.driver.switch_to.active_element.send_keys(Keys.TAB)
    assert browser.driver.switch_to.active_element.get_attribute("class") == "skip"


def lists(browser):
    """A list goes on both ways, and its conditions are in the address."""
    browser.open("/accounts")
    first = browser.find("tbody tr").text
    browser.driver.find_element(By.PARTIAL_LINK_TEXT, "Дальше").click()
    browser.once("another page", lambda: browser.find("tbody tr").text != first)
    browser.driver.find_element(By.PARTIAL_LINK_TEXT, "Назад").click()
    browser.once("the first again", lambda: browser.find("tbody tr").text == first)
    browser.driver.find_element(By.PARTIAL_LINK_TEXT, "Зарегистрирован").click()
    browser.once("the oldest first", lambda: browser.find("th[aria-sort]").get_attribute("aria-sort") == "ascending")
    assert browser.driver.current_url.endswith("?sort=created"), browser.driver.current_url
    browser.open("/payments?state=unknown")
    browser.shows("Неизвестно")
    assert len(browser.driver.find_elements(By.CSS_SELECTOR, "tbody tr")) == 1
    browser.find(".chips a").click()
    browser.once("all of them", lambda: len(browser.driver.find_elements(By.CSS_SELECTOR, "tbody tr")) == 3)


def explains(browser):
    browser.open(f"/payments/{UNKNOWN}")
    browser.shows("Почему так и что будет дальше", "Ожидается", "Дальше само", "POST /payments/cards/charge")
    browser.open(f"/accounts/{ACCOUNT}")
    browser.shows("Оплачена до", "Следующее", "Visa ·· 4242", "Europe/Moscow (UTC+03:00)")


def speaks_both(browser):
    browser.open("/accounts")
    browser.press("English")
    browser.shows("Next charge", "Never paid")
    browser.press("Русский")
    browser.shows("Ещё не платил")
    browser.press("Тёмная")
    browser.once("dark", lambda: browser.find("html").get_attribute("data-theme") == "dark")
    browser.press("Как в системе")
    browser.once("as the system has it", lambda: not browser.find("html").get_attribute("data-theme"))


def acts(browser):
    confirm(browser, f"/accounts/{ACCOUNT}/extend?days=3", "an outage on Monday", "Продлить на 3 дня")
    browser.shows("Выполнено", "перенесён вручную")
    browser.open(f"/accounts/{ACCOUNT}/change_tariff")
    browser.shows("Сначала выберите тариф")
    browser.driver.find_elements(By.CSS_SELECTOR, "select[name=tariff] option")[-1].click()
    browser.press("Показать, что произойдёт")
    browser.shows("Тариф с этого списания")
    browser.fill("#reason", "the customer wants more")
    browser.press("Сменить тариф со следующего периода")
    browser.shows("Выполнено", "Затем")
    # The same form twice: it is done once.
    browser.open(f"/accounts/{ACCOUNT}/cancel")
    browser.fill("#reason", "the customer called")
    form = browser.driver.execute_script("return new URLSearchParams(new FormData(document.querySelector('main form.card'))).toString()")
    send = """
        const [form, done] = arguments;
        const headers = {"content-type": "application/x-www-form-urlencoded"};
        fetch("", {method: "POST", body: form, headers}).then(response => done(response.url + " " + response.status));
    """
    for _ in range(2):
        told = browser.driver.execute_async_script(send, form)
        assert told.endswith("?done=cancel 200"), told
    # What was looked at before is not what would be done now.
    told = browser.driver.execute_async_script(send, form.replace("&id=", "&id=0").replace("id=00", "id=1"))
    assert told.endswith((" 409", " 403")), told
    browser.open(f"/accounts/{ACCOUNT}")
    browser.shows("не продлевается", "Отозвать отмену")
    confirm(browser, f"/payments/{PAID}/refund?amount=200%2C00&effect=keep", "the film did not play", "Вернуть 200,00")
    browser.shows("Возврат", "the film did not play")
    refund = browser.driver.current_url.removeprefix(ADDRESS)
    browser.open(f"/payments/{UNKNOWN}/close?ending=not_taken")
    browser.shows("Что произойдёт, когда согласится второе лицо")
    browser.fill("#said", "looked by number and in the list of the day")
    browser.press("Запросить закрытие")
    browser.shows("Согласиться должен другой человек")
    assert not violations(browser), violations(browser)
    browser.picture("admin-closing-light")
    browser.open("/accounts/extend?status=Active")
    browser.press("Показать, что произойдёт")
    browser.shows("Первые десять строк")
    assert not violations(browser), violations(browser)
    browser.fill("#reason", "an outage on Tuesday")
    browser.press("Запросить согласие")
    browser.shows("Согласиться должен другой человек")
    return refund, browser.driver.current_url.removeprefix(ADDRESS)


def staff(browser):
    browser.open("/staff")
    assert not violations(browser), violations(browser)
    browser.picture("admin-staff-light")
    browser.fill("form[action='/staff'] input[name=name]", "Newcomer")
    browser.fill("form[action='/staff'] input[name=password]", OWN)
    browser.press("Впустить и показать")
    browser.shows("newcomer", "Показывается только сейчас")
    browser.open("/payments")
    browser.shows("Ваша роль не позволяет")


def whole(browser):
    browser.open("/login")
    assert not violations(browser), violations(browser)
    browser.picture("admin-sign-in-light")
    sign_in(browser, "chief", CHIEF)
    look(browser, PAGES)
    find(browser)
    lists(browser)
    explains(browser)
    speaks_both(browser)
    refund, bulk = acts(browser)
    browser.open(refund)
    browser.shows("ожидается", "согласиться должен кто-то другой")
    sign_out(browser)
    sign_in(browser, "second", SECOND)
    browser.open(refund)
    browser.press("Согласиться вернуть")
    browser.once("agreed", lambda: "Согласиться" not in browser.text())
    browser.open("/approvals")
    browser.shows("Продлить всем на 3 дня", "Закрыть неизвестный платёж")
    browser.picture("admin-approvals-light")
    browser.open(bulk)
    browser.press("Продлить всем на 3 дня")
    browser.shows("Выполняется", "Приостановить")
    assert not violations(browser), violations(browser)
    browser.picture("admin-bulk-light")
    sign_out(browser)
    sign_in(browser, "admin", ADMIN)
    staff(browser)
    assert not browser.complaints(), browser.complaints()


def without_scripts(browser):
    """Every page is complete, and signing in and a filter work."""
    sign_in(browser, "chief", OWN)
    for path in PAGES.values():
        browser.open(path)
        assert browser.driver.find_elements(By.CSS_SELECTOR, "main h1"), path
    browser.open("/payments")
    browser.find("option[value=unknown]").click()
    browser.press("Применить")
    browser.once("one", lambda: len(browser.driver.find_elements(By.CSS_SELECTOR, "tbody tr")) == 1)


for scripts, steps in (True, whole), (False, without_scripts):
    with tempfile.TemporaryDirectory() as profile:
        browser = Browser(ADDRESS, profile, scripts)
        try:
            steps(browser)
        finally:
            browser.driver.quit()
