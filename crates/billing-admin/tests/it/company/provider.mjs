// The company's provider of sign-in: npm oidc-provider, with a page that takes everybody at their word.
//
//     node provider.mjs <where oidc-provider is> <port> <address of the panel>
//
// Who types `ada` is the account `ada` with the verified address ada@cinema.example; `ada+2` is another account to which the same
// address was given; the address of `unverified` is not verified; `cancel` turns back.

import { createServer } from 'node:http'

const [, , module, port, panel] = process.argv
const { Provider } = await import(module)
const issuer = `http://127.0.0.1:${port}`

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: 'billing',
      client_secret: 'a secret of a test',
      redirect_uris: [`${panel}/login/oidc/callback`],
      post_logout_redirect_uris: [`${panel}/login`],
    },
  ],
  claims: { openid: ['sub', 'acr', 'amr', 'auth_time'], email: ['email', 'email_verified'], profile: ['name'] },
  cookies: { keys: ['a key of a test'] },
  pkce: { required: () => true },
  features: { devInteractions: { enabled: false } },
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  async findAccount(ctx, id) {
    const email = `${id.split('+')[0]}@cinema.example`
    return { accountId: id, claims: () => ({ sub: id, name: id, email, email_verified: id !== 'unverified' }) }
  },
  // Nobody is asked whether the panel may know who they are: it is the company's own.
  async loadExistingGrant(ctx) {
    const { client, session } = ctx.oidc
    const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId })
    grant.addOIDCScope('openid email profile')
    await grant.save()
    return grant
  },
})

async function interaction(request, response) {
  const { prompt, params } = await provider.interactionDetails(request, response)
  if (request.method === 'GET') {
    response.setHeader('content-type', 'text/html; charset=utf-8')
    response.end(`<!doctype html><title>Company</title><h1>Company</h1><p>${prompt.name} for ${params.client_id}</p>
<form method="post"><input name="login" id="login"><input name="amr" id="amr"><button>Go on</button></form>`)
    return
  }
  let body = ''
  for await (const chunk of request) body += chunk
  const form = new URLSearchParams(body)
  const login = form.get('login')
  const amr = (form.get('amr') || 'pwd').split(' ')
  const ts = Math.floor(Date.now() / 1000) - (amr.includes('old') ? 3600 : 0)
  const result = login === 'cancel' ? { error: 'access_denied' } : { login: { accountId: login, amr, ts } }
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false })
}

const serve = provider.callback()
createServer((request, response) => {
  if (!request.url.startsWith('/interaction/')) return serve(request, response)
  interaction(request, response).catch((error) => {
    console.error(error)
    response.statusCode = 500
    response.end(String(error))
  })
}).listen(Number(port), '127.0.0.1', () => console.log(`listens ${issuer}`))
