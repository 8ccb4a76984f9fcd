"""The first payment, by a client that knows nothing but proto/.

usage: first_payment.py PROTO_DIRECTORY ADDRESS FRONTEND_TOKEN AUTH_TOKEN

Prints one JSON object with what it was answered.
"""

import json
import pathlib
import sys
import tempfile
import uuid

import grpc
from grpc_tools import protoc


def compile_files(directory, out):
    files = sorted(str(path) for path in pathlib.Path(directory).rglob("*.proto"))
    includes = [f"-I{directory}", f"-I{pathlib.Path(protoc.__file__).parent / '_proto'}"]
    if protoc.main(["protoc", *includes, f"--python_out={out}", f"--grpc_python_out={out}", *files]) != 0:
        sys.exit("protoc refuses the files")
    sys.path.insert(0, out)


def first_payment(address, frontend_token, auth_token):
    from billing.v1 import access_pb2, access_pb2_grpc
    from billing.v1 import payments_pb2, payments_pb2_grpc
    from billing.v1 import tariffs_pb2, tariffs_pb2_grpc

    frontend = [("authorization", f"Bearer {frontend_token}")]
    auth = [("authorization", f"Bearer {auth_token}")]
    with grpc.insecure_channel(address) as channel:
        access = access_pb2_grpc.AccessStub(channel)
        tariffs = tariffs_pb2_grpc.TariffsStub(channel)
        payments = payments_pb2_grpc.PaymentsStub(channel)

        account_id = str(uuid.uuid4())
        account = access.RegisterAccount(
            access_pb2.RegisterAccountRequest(account_id=account_id), metadata=auth, timeout=10
        )
        on_sale = tariffs.ListTariffs(tariffs_pb2.ListTariffsRequest(), metadata=frontend, timeout=10).tariffs
        payment = payments.CreatePayment(
            payments_pb2.CreatePaymentRequest(
                account_id=account_id,
                tariff_id=on_sale[0].tariff_id,
                card_cryptogram_packet="01492500008719030128SMfLeYdKp5dSQVIiO5l6ZCJiPdel4uDjdFTTz1UnXY",
                ip_address="203.0.113.7",
                idempotency_key=str(uuid.uuid4()),
            ),
            metadata=frontend,
            timeout=10,
        )
        seen = next(
            iter(
                payments.WatchPayment(
                    payments_pb2.WatchPaymentRequest(payment_id=payment.payment_id), metadata=frontend, timeout=10
                )
            )
        )
        try:
            payments.CreatePayment(payments_pb2.CreatePaymentRequest(), metadata=frontend, timeout=10)
            refused = "not refused"
        except grpc.RpcError as error:
            refused = error.code().name

    print(
        json.dumps(
            {
                "account_id": account.account_id,
                "has_access": account.has_access,
                "tariff": on_sale[0].name,
                "amount_kopecks": payment.amount_kopecks,
                "payment_id": payment.payment_id,
                "status": payments_pb2.PaymentStatus.Name(payment.status),
                "watched": seen.payment_id,
                "refused": refused,
            }
        )
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as out:
        compile_files(sys.argv[1], out)
        first_payment(*sys.argv[2:])
