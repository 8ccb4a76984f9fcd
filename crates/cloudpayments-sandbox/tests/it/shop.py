"""A shop with the PyPI client `cloudpayments`: every method it has."""

import json
import os
import sys
import urllib.parse
import urllib.request
from datetime import datetime, timedelta, timezone
from decimal import Decimal

from cloudpayments import CloudPayments, CloudPaymentsError, PaymentError
from cloudpayments.models import Amount, Receipt, ReceiptItem

os.environ["NO_PROXY"] = "127.0.0.1"
URL = sys.argv[1]
CloudPayments.URL = URL
client = CloudPayments("pk_sandbox", "sk_sandbox")


def post(path, body, content_type):
    headers = {"Content-Type": content_type, "Accept": "application/json"}
    request = urllib.request.Request(URL + path, body.encode(), headers)
    return json.load(urllib.request.urlopen(request))


def cryptogram(card_number):
    details = {"card_number": card_number, "exp": "12/30", "cvv": "123"}
    return post("sandbox/cryptogram", json.dumps(details), "application/json")["cryptogram"]


def charge(card_number, invoice_id, amount=10.5, **options):
    return client.charge_card(
        cryptogram(card_number), amount, "RUB", "CARDHOLDER NAME", "127.0.0.1",
        invoice_id=invoice_id, account_id="account", description="Подписка", data={"tariff": "basic"}, **options,
    )


def fails(error, call, *arguments, **options):
    try:
        call(*arguments, **options)
    except error as raised:
        return raised
    raise AssertionError(f"{call} did not fail")


assert len(client.test()) == 36
assert client.test(request_id="ping") == client.test(request_id="ping")
fails(ValueError, CloudPayments("pk_sandbox", "wrong").test)  # 401 has no JSON to read

# One stage.
paid = charge("4000000000003055", "1")
assert (paid.status, paid.amount, paid.currency_code) == ("Completed", Decimal("10.5"), 0)
assert (paid.card_first_six, paid.card_last_four, paid.card_exp_date) == ("400000", "3055", "12/30")
assert json.loads(paid.data) == {"tariff": "basic"} and paid.description == "Подписка"
assert abs(datetime.now(timezone.utc) - paid.created_date).total_seconds() < 60
assert client.get_transaction(paid.id).id == client.find_payment("1").id == paid.id
assert str(fails(CloudPaymentsError, client.find_payment, "nothing")) == "Not found"

# No money.
declined = fails(PaymentError, charge, "4000056655665556", "2")
assert (declined.reason_code, declined.reason) == (5051, "InsufficientFunds")
assert declined.cardholder_message == declined.verbose_message == "Недостаточно средств на карте"

# Two stages.
authorized = charge("4000000000003055", "3", require_confirmation=True)
assert (authorized.status, authorized.confirm_date) == ("Authorized", None)
client.confirm_payment(authorized.id, 5.25)
assert client.get_transaction(authorized.id).amount == Decimal("5.25")
fails(CloudPaymentsError, client.void_payment, authorized.id)
voided = charge("4000000000003055", "4", require_confirmation=True)
client.void_payment(voided.id)
assert client.get_transaction(voided.id).status == "Cancelled"

# 3-D Secure.
secure = charge("4242424242424242", "5")
assert secure.secure3d_required
form = secure.redirect_params("https://shop.test/after")
assert secure.acs_url == URL + "acs"
back = post("acs/answer", urllib.parse.urlencode({**form, "answer": "confirm"}), "application/x-www-form-urlencoded")
assert client.finish_3d_secure_authentication(int(back["MD"]), back["PaRes"]).status == "Completed"
rejected = charge("4242424242424242", "6")
assert fails(PaymentError, client.finish_3d_secure_authentication, rejected.transaction_id, "x").reason_code == 5206

# Tokens.
renewed = client.charge_token(paid.token, "account", 59, "RUB", invoice_id="7")
assert (renewed.status, renewed.amount, renewed.token) == ("Completed", 59, paid.token)
once = charge("4111111111111111", "8")
assert fails(PaymentError, client.charge_token, once.token, "account", 59, "RUB").reason_code == 5051
fails(CloudPaymentsError, client.charge_token, paid.token, "somebody else", 59, "RUB")

# Refunds.
refund_id = client.refund(renewed.id, 9, request_id="refund-7")
assert client.refund(renewed.id, 9, request_id="refund-7") == refund_id != renewed.id
assert client.refund(renewed.id, 50) != refund_id
fails(CloudPaymentsError, client.refund, renewed.id, 0.01)

# The day's list.
assert paid.id in {transaction.id for transaction in client.list_payments(paid.created_date, timezone="UTC")}

# Payouts: the client sends its token to the method for cards.
payout = client.topup(paid.token, 20, "account", "RUB", invoice_id="9")
assert (payout.status, payout.amount, payout.card_last_four) == ("Completed", 20, "3055")
fails(CloudPaymentsError, client.topup, "no such token", 20, "account", "RUB")

# Subscriptions.
start = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=1)
terms = (paid.token, "account", 399, "RUB", "Подписка", "payer@example.com")
subscription = client.create_subscription(*terms, start, "Month", 1, max_periods=12)
assert (subscription.status, subscription.amount, subscription.interval) == ("Active", 399, "Month")
assert subscription.start_date == subscription.next_transaction_date == start
assert subscription.last_transaction_date is None and subscription.max_periods == 12
assert [found.id for found in client.list_subscriptions("account")] == [subscription.id]
assert not list(client.list_subscriptions("somebody else"))
changed = client.update_subscription(subscription.id, amount=499, description="дороже", period=2)
assert (changed.amount, changed.description, changed.period) == (499, "дороже", 2)
client.cancel_subscription(subscription.id)
assert client.get_subscription(subscription.id).status == "Cancelled"
fails(CloudPaymentsError, client.cancel_subscription, subscription.id)
assert client.update_subscription(subscription.id, amount=399).status == "Active"
fails(CloudPaymentsError, client.create_subscription, *terms, start - timedelta(days=2), "Month", 1)
fails(CloudPaymentsError, client.get_subscription, "sc_0")

# Orders.
order = client.create_order(10, "RUB", "Заказ", email="payer@example.com", require_confirmation=True)
assert (order.amount, order.description, order.require_confirmation) == (10, "Заказ", True)
assert order.url.startswith(URL + "d/")
assert "Заказ" in urllib.request.urlopen(order.url).read().decode()

# Receipts.
items = [ReceiptItem("Подписка", 59.5, 1, 59.5, 20, method=4, item_object=4)]
receipt = Receipt(items, 1, email="payer@example.com", amounts=Amount(electronic=59.5))
receipt_id = client.create_receipt("7700000000", "Income", receipt, invoice_id="7", request_id="receipt")
assert client.create_receipt("7700000000", "Income", receipt, invoice_id="7", request_id="receipt") == receipt_id
back = client.get_receipt(receipt_id)
assert (back.items[0].label, back.items[0].amount, back.amounts.electronic) == ("Подписка", Decimal("59.5"), Decimal("59.5"))
fails(CloudPaymentsError, client.create_receipt, "77", "Income", receipt)

print("all is as told")
