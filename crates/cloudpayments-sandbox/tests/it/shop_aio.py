"""A shop with the PyPI client `aiocloudpayments`: every method it has, and its receiver of notifications."""

import asyncio
import json
import sys
import urllib.parse
import urllib.request
from datetime import datetime, timedelta, timezone

from aiocloudpayments import AioCpClient
from aiocloudpayments.dispatcher import AiohttpDispatcher, Result
from aiocloudpayments.exceptions import CpAPIError, CpPaymentError
from aiohttp import web

URL = sys.argv[1]


def post(path, body, content_type):
    headers = {"Content-Type": content_type, "Accept": "application/json"}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return json.load(opener.open(urllib.request.Request(URL + path, body.encode(), headers)))


def cryptogram(card_number):
    details = {"card_number": card_number, "exp": "12/30", "cvv": "123"}
    return post("sandbox/cryptogram", json.dumps(details), "application/json")["cryptogram"]


def card(card_number, invoice_id, **options):
    return dict(
        amount=10, currency="RUB", ip_address="127.0.0.1", card_cryptogram_packet=cryptogram(card_number),
        account_id="account", invoice_id=invoice_id, name="CARDHOLDER", json_data={"tariff": "basic"}, **options,
    )


async def fails(error, call):
    try:
        await call
    except error as raised:
        return raised
    raise AssertionError("it did not fail")


class Listener:
    """What the client's own dispatcher lets through: it has verified the signature and read every field."""

    def __init__(self, client):
        self.told = asyncio.Queue()
        self.dispatcher = AiohttpDispatcher()
        self.dispatcher.cp_client = client
        for kind in ("pay", "fail", "confirm", "refund", "cancel", "recurrent"):
            getattr(self.dispatcher, kind)()(self.hear)
        self.app = web.Application()
        paths = {f"{kind}_path": kind for kind in ("pay", "fail", "confirm", "refund", "cancel", "recurrent")}
        self.dispatcher.register_app(self.app, "/", **paths)

    async def hear(self, notification):
        await self.told.put(notification)
        return Result.OK

    async def start(self):
        self.runner = web.AppRunner(self.app)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        return site._server.sockets[0].getsockname()[1]

    async def next(self, kind):
        notification = await asyncio.wait_for(self.told.get(), 20)
        assert notification.__name__ == kind, notification
        return notification


async def payments(client):
    await client.test(x_request_id="ping")
    paid = await client.charge_card(**card("4000000000003055", "1"), x_request_id="one")
    again = await client.charge_card(**card("4000000000003055", "1"), x_request_id="one")
    assert paid.transaction_id == again.transaction_id
    assert (paid.status, paid.amount, paid.type) == ("Completed", 10, 0)
    assert (await client.get_payment(paid.transaction_id)).card_last_four == "3055"
    declined = await fails(CpPaymentError, client.charge_card(**card("4000056655665556", "2")))
    assert declined.model.reason_code == 5051

    secure = await client.charge_card(**card("4242424242424242", "3"))
    form = {"MD": secure.transaction_id, "PaReq": secure.pa_req, "TermUrl": "https://shop.test", "answer": "confirm"}
    back = await asyncio.to_thread(
        post, "acs/answer", urllib.parse.urlencode(form), "application/x-www-form-urlencoded")
    done = await client.post3ds(transaction_id=secure.transaction_id, pa_res=back["PaRes"])
    assert done.status == "Completed"

    held = await client.auth_card(**card("4000000000003055", "4"))
    await client.confirm_payment(held.transaction_id, 5, json_data={"why": "half"})
    assert (await client.find_payment(4)).amount == 5
    held = await client.auth_token(10, "account", paid.token, currency="RUB", invoice_id="5")
    await client.void_payment(held.transaction_id)
    assert (await client.find_payment(5, use_new_method=False)).status == "Cancelled"

    renewed = await client.charge_token(59, "account", paid.token, currency="RUB", invoice_id="6")
    refund = await client.refund_payment(renewed.transaction_id, 9, x_request_id="refund")
    assert (await client.find_payment(6)).transaction_id == refund.transaction_id, "v2 sees refunds"
    assert (await client.find_payment(6, use_new_method=False)).transaction_id == renewed.transaction_id
    listed = await client.list_payments(datetime.now(timezone.utc).date(), "UTC")
    assert {renewed.transaction_id, refund.transaction_id} <= {item.transaction_id for item in listed}

    # The client's own mistake: it asks for tokens at the address of payouts.
    assert str(await fails(CpAPIError, client.list_tokens())) == "Amount is required"
    assert (await client.topup_token(paid.token, 20, "account", "RUB")).type == 2
    payout = await client.topup_card(cryptogram("4242424242424242"), 30, "RUB", account_id="account")
    assert (payout.status, payout.type, payout.card_first_six) == ("Completed", 2, "424242")
    return paid.token


async def subscriptions(client, token):
    start = datetime.now(timezone.utc) + timedelta(days=1)
    made = await client.create_subscription(
        token, "account", "Подписка", "payer@example.com", 399, "RUB", False, start, "Month", 1, max_periods=3)
    assert (made.status, made.interval, made.period, made.max_periods) == ("Active", "Month", 1, 3)
    assert abs(made.next_transaction_date_iso.replace(tzinfo=timezone.utc) - start) < timedelta(seconds=2)
    assert [it.id for it in await client.find_subscriptions("account")] == [made.id]
    assert (await client.update_subscription(made.id, amount=499)).amount == 499
    await client.cancel_subscription(made.id)
    assert (await client.get_subscription(made.id)).status == "Cancelled"


async def orders(client):
    order = await client.create_order(
        10, "Заказ", currency="RUB", email="payer@example.com", subscription_behavior="CreateMonthly")
    assert (order.status, order.number, order.url) == ("Created", 1, f"{URL}d/{order.id}")
    await client.cancel_order(order.id)
    assert "Cancelled" in str(await fails(CpAPIError, client.cancel_order(order.id)))


async def notifications(client, token):
    assert (await client.get_notification("pay")).is_enabled is False
    listener = Listener(client)
    port = await listener.start()
    for kind in ("pay", "fail", "confirm", "refund", "cancel", "recurrent"):
        address = f"http://127.0.0.1:{port}/{kind}"
        await client.update_notification(kind, is_enabled=True, address=address, http_method="POST")
    told = await client.get_notification("pay")
    assert (told.is_enabled, told.address, told.http_method) == (True, f"http://127.0.0.1:{port}/pay", "POST")
    assert (told.encoding, told.format) == ("UTF8", "CloudPayments")
    await fails(CpAPIError, client.update_notification("check", is_enabled=True, address="http://127.0.0.1/check"))

    paid = await client.charge_token(59, "account", token, currency="RUB", invoice_id="7", description="Кино & чай")
    pay = await listener.next("pay")
    assert (pay.transaction_id, pay.amount, pay.description) == (paid.transaction_id, 59.0, "Кино & чай")
    refund = await client.refund_payment(paid.transaction_id, 9)
    assert (await listener.next("refund")).transaction_id == refund.transaction_id
    await fails(CpPaymentError, client.charge_card(**card("4000056655665556", "8")))
    assert (await listener.next("fail")).reason_code == 5051
    held = await client.auth_card(**card("4000000000003055", "9"))
    pay = await listener.next("pay")
    assert (pay.status, pay.data) == ("Authorized", {"tariff": "basic"})
    await client.confirm_payment(held.transaction_id, 10)
    assert (await listener.next("confirm")).status == "Completed"
    held = await client.auth_card(**card("4000000000003055", "10"))
    await listener.next("pay")
    await client.void_payment(held.transaction_id)
    assert (await listener.next("cancel")).transaction_id == held.transaction_id
    start = datetime.now(timezone.utc) + timedelta(days=1)
    made = await client.create_subscription(
        token, "account", "Подписка", "payer@example.com", 399, "RUB", False, start, "Month", 1)
    await client.cancel_subscription(made.id)
    recurrent = await listener.next("recurrent")
    assert (recurrent.id, recurrent.status, recurrent.require_confirmation) == (made.id, "Cancelled", False)
    await listener.runner.cleanup()


async def main():
    client = AioCpClient("pk_sandbox", "sk_sandbox", base_url=URL)
    token = await payments(client)
    await subscriptions(client, token)
    await orders(client)
    # The client sends no parameters at all.
    assert str(await fails(CpAPIError, client.applepay_startsession("https://apple.test"))) == "ValidationUrl is required"
    await notifications(client, token)
    await client.disconnect()
    print("all is as told")


asyncio.run(main())
