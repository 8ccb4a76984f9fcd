// A shop with the npm client `cloudpayments`: every method it has, and its verifier of notifications.
'use strict'

const assert = require('assert').strict
const http = require('http')
const { ClientService, ReceiptTypes, TaxationSystem, VAT } = require('cloudpayments')

const URL_ = process.argv[2]
const options = { publicId: 'pk_sandbox', privateKey: 'sk_sandbox', endpoint: URL_.replace(/\/$/, ''), org: { inn: '7700000000', taxationSystem: TaxationSystem.SIMPLIFIED_INCOME } }
const service = new ClientService(options)
const api = service.getClientApi()

async function post(path, body, type) {
  const headers = { 'Content-Type': type, Accept: 'application/json' }
  return (await fetch(URL_ + path, { method: 'POST', headers, body })).json()
}

const cryptogram = async number =>
  (await post('sandbox/cryptogram', JSON.stringify({ card_number: number, exp: '12/30', cvv: '123' }), 'application/json')).cryptogram

const card = async (number, InvoiceId, more = {}) => ({
  Amount: 10.5, Currency: 'RUB', IpAddress: '127.0.0.1', Name: 'CARDHOLDER', AccountId: 'account', InvoiceId,
  CardCryptogramPacket: await cryptogram(number), ...more,
})

const model = answer => {
  assert.equal(answer.isSuccess(), true, JSON.stringify(answer.getResponse()))
  return answer.getResponse().Model
}

const refused = answer => {
  assert.equal(answer.isSuccess(), false)
  return answer.getMessage()
}

async function payments() {
  // The client asks without its credentials.
  await assert.rejects(api.ping())
  const ping = await api.call('/test', {}, 'ping')
  assert.deepEqual(await api.call('/test', {}, 'ping'), ping)

  const paid = model(await api.chargeCryptogramPayment(await card('4000000000003055', '1')))
  assert.equal(paid.Status, 'Completed')
  const declined = await api.chargeCryptogramPayment(await card('4000056655665556', '2'))
  assert.equal(declined.getResponse().Model.ReasonCode, 5051)

  const secure = (await api.chargeCryptogramPayment(await card('4242424242424242', '3'))).getResponse().Model
  const form = new URLSearchParams({ MD: secure.TransactionId, PaReq: secure.PaReq, TermUrl: 'https://shop.test', answer: 'confirm' })
  const back = await post('acs/answer', form.toString(), 'application/x-www-form-urlencoded')
  assert.equal(model(await api.confirm3DSPayment({ TransactionId: secure.TransactionId, PaRes: back.PaRes })).Status, 'Completed')

  const held = model(await api.authorizeCryptogramPayment(await card('4000000000003055', '4')))
  assert.equal(held.Status, 'Authorized')
  model(await api.confirmPayment({ TransactionId: held.TransactionId, Amount: 5 }))
  const byToken = { Amount: 59.5, Currency: 'RUB', AccountId: 'account', Token: paid.Token }
  const second = model(await api.authorizeTokenPayment({ ...byToken, InvoiceId: '5' }))
  model(await api.voidPayment({ TransactionId: second.TransactionId }))
  assert.equal(model(await api.getPayment({ TransactionId: second.TransactionId })).Status, 'Cancelled')

  const renewed = model(await api.chargeTokenPayment({ ...byToken, InvoiceId: '6' }))
  assert.equal(renewed.Amount, 59.5)
  const refund = model(await api.refundPayment({ TransactionId: renewed.TransactionId, Amount: 9.5 }))
  assert.notEqual(refund.TransactionId, renewed.TransactionId)
  assert.equal(model(await api.findPaymentByInvoiceId({ InvoiceId: '6' })).TransactionId, renewed.TransactionId)
  assert.equal(refused(await api.findPaymentByInvoiceId({ InvoiceId: 'nothing' })), 'Not found')
  for (const list of [await api.getPaymentList({ Date: new Date(), TimeZone: 'UTC' }), await api.getPaymentsList({ Date: new Date(), TimeZone: 'UTC' })]) {
    assert(model(list).some(item => item.TransactionId === renewed.TransactionId))
  }

  const payout = model(await api.chargeCryptogramPayout({ ...await card('4242424242424242', '7'), Amount: 30 }))
  assert.deepEqual([payout.Type, payout.Status], [2, 'Completed'])
  // The client's path has a space at its end.
  assert.equal(model(await api.chargeTokenPayout({ ...byToken, Amount: 20 })).Type, 2)
  return paid.Token
}

async function subscriptions(Token) {
  const StartDate = new Date(Date.now() + 86400e3).toISOString()
  const made = model(await api.createSubscription({
    Token, AccountId: 'account', Description: 'Подписка', Email: 'payer@example.com', Amount: 399, Currency: 'RUB',
    RequireConfirmation: false, StartDate, Interval: 'Month', Period: 1,
  }))
  assert.equal(made.Status, 'Active')
  assert.equal(model(await api.updateSubscription({ Id: made.Id, Amount: 499 })).Amount, 499)
  assert.deepEqual(model(await api.getSubscriptionsList({ accountId: 'account' })).map(it => it.Id), [made.Id])
  model(await api.cancelSubscription({ Id: made.Id }))
  assert.equal(model(await api.getSubscription({ Id: made.Id })).Status, 'Cancelled')
}

async function ordersAndReceipts() {
  const order = model(await api.createOrder({ Amount: 10, Currency: 'RUB', Description: 'Заказ', Email: 'payer@example.com' }))
  assert.deepEqual([order.Status, order.Url], ['Created', `${URL_}d/${order.Id}`])
  const receipts = service.getReceiptApi()
  const receipt = { Items: [{ label: 'Подписка', price: 59.5, quantity: 1, amount: 59.5, vat: VAT.VAT20 }], email: 'payer@example.com' }
  const queued = await receipts.createReceipt({ Type: ReceiptTypes.Income, InvoiceId: '6' }, receipt)
  assert.deepEqual([queued.isSuccess(), queued.getMessage(), queued.getResponse().Model.ErrorCode], [true, 'Queued', 0])
  const again = await receipts.createReceipt({ Type: ReceiptTypes.Income, InvoiceId: '6' }, receipt)
  assert.equal(again.getResponse().Model.Id, queued.getResponse().Model.Id, 'the same X-Request-ID')
}

// The client's own handlers: they have verified the signature.
async function notifications(Token) {
  const handlers = service.getNotificationHandlers()
  const told = []
  let wake = () => {}
  const server = http.createServer(async (request, response) => {
    const kind = request.url.split('?')[0].slice(1)
    try {
      const handle = { pay: 'handlePayRequest', fail: 'handleFailRequest', refund: 'handleRefundRequest', receipt: 'handleReceiptRequest', confirm: 'handleConfirmRequest', recurrent: 'handleRecurrentRequest' }[kind]
      const handled = await handlers[handle](request, async () => 0)
      told.push([kind, handled.request])
      response.end(JSON.stringify(handled.response))
    } catch (error) {
      told.push([kind, error])
      response.writeHead(500).end()
    }
    wake()
  })
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))
  const next = async kind => {
    const index = () => told.findIndex(([heard]) => heard === kind)
    while (index() < 0) await new Promise(resolve => { wake = resolve })
    const [[, request]] = told.splice(index(), 1)
    if (request instanceof Error) throw request
    return request
  }
  const address = kind => `http://127.0.0.1:${server.address().port}/${kind}`
  const set = async (kind, more) => assert.equal((await api.call(`/site/notifications/${kind}/update`, { IsEnabled: true, Address: address(kind), ...more })).Success, true)
  const charge = async () => model(await api.chargeTokenPayment({ Amount: 59.5, Currency: 'RUB', AccountId: 'account', Token, Description: 'Кино & «чай»' }))

  await set('pay', { HttpMethod: 'POST' })
  let paid = await charge()
  let pay = await next('pay')
  assert.deepEqual([pay.TransactionId, pay.Amount, pay.Description], [String(paid.TransactionId), '59.50', 'Кино & «чай»'])
  await set('pay', {}) // GET, the documented default
  await charge()
  assert.equal((await next('pay')).Description, 'Кино & «чай»')
  await set('pay', { HttpMethod: 'POST', Format: 'JSON' })
  paid = await charge()
  assert.deepEqual((await next('pay')).Amount, 59.5)
  await set('refund', { HttpMethod: 'POST' })
  model(await api.refundPayment({ TransactionId: paid.TransactionId, Amount: 1 }))
  assert.equal((await next('refund')).PaymentTransactionId, String(paid.TransactionId))
  await set('receipt', { HttpMethod: 'POST' })
  const data = { CloudPayments: { CustomerReceipt: { Items: [{ label: 'Подписка', price: 59.5, quantity: 1, amount: 59.5, vat: 20 }], taxationSystem: 1 } } }
  paid = model(await api.chargeTokenPayment({ Amount: 59.5, Currency: 'RUB', AccountId: 'account', Token, JsonData: JSON.stringify(data) }))
  await next('pay')
  let receipt
  do receipt = await next('receipt') // the one ordered before has no payment
  while (!receipt.TransactionId)
  assert.deepEqual([receipt.Type, receipt.TransactionId, receipt.Amount], ['Income', String(paid.TransactionId), '59.50'])
  assert.equal(JSON.parse(receipt.Receipt).Items[0].Label, 'Подписка')
  server.close()
  server.closeAllConnections()
}

async function main() {
  const token = await payments()
  await subscriptions(token)
  await ordersAndReceipts()
  await notifications(token)
  console.log('all is as told')
}

main().catch(error => { console.error(error); process.exitCode = 1; process.exit() })
