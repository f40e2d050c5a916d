import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Unexpected } from '../../lib/verify/run-check.ts'
import { judgeCertificate, plainRedirect } from '../../lib/verify/tls.ts'
import { answer, createAuthority, type Handler, html, redirect, type Site, startSite } from '../support/site.ts'
import { verify } from '../support/verify.ts'

const tls = suite('verify over HTTPS')
const authority = createAuthority()

async function withSite(subject: string, days: number, check: (site: Site) => Promise<void>): Promise<void> {
  const secure = await startSite({ tls: authority.issue(subject, days) })
  try {
    await check(secure)
  } finally {
    await secure.stop()
  }
}

const env = { NODE_EXTRA_CA_CERTS: authority.caFile }
tls('a good certificate on another port passes, and the redirect is said not to be checked', () =>
  withSite('IP:127.0.0.1', 90, async ({ url }) => {
    const { exitCode, stdout } = await verify(['--url', url], { env })
    assert.is(exitCode, 0)
    assert.match(
      stdout,
      /^pass {2}TLS .*valid for 127.0.0.1, 90 days left \(until \w{3} \d+ \w{3}( \d{4})?\), plain HTTP not checked/m,
    )
  }),
)
for (const [promise, subject, days, trusted, code, seen] of [
  ['20 days are a warning', 'IP:127.0.0.1', 20, true, 0, /^warn {2}TLS .*20 days left/m],
  ['21 days are none', 'IP:127.0.0.1', 21, true, 0, /^pass {2}TLS .*21 days left/m],
  ['3 days are a warning', 'IP:127.0.0.1', 3, true, 0, /^warn {2}TLS .*3 days left/m],
  ['2 days fail', 'IP:127.0.0.1', 2, true, 1, /^fail {2}TLS .*2 days left/m],
  ['1 day fails', 'IP:127.0.0.1', 1, true, 1, /^fail {2}TLS .*2\d hours left/m],
  ['expired fails', 'IP:127.0.0.1', -2, true, 1, /^fail {2}TLS .*expired on \w{3} \d+ /m],
  [
    'another host fails',
    'DNS:other.example',
    90,
    true,
    1,
    /^fail {2}TLS .*not for 127.0.0.1, but for DNS:other.example/m,
  ],
  ['an unknown authority fails', 'IP:127.0.0.1', 90, false, 1, /^fail {2}TLS .*not trusted/m],
] as const)
  tls(`certificate: ${promise}, after one try`, () =>
    withSite(subject, days, async ({ url }) => {
      const { exitCode, stdout } = await verify(['--url', url, '--timeout', '20'], trusted ? { env } : {})
      assert.is(exitCode, code)
      assert.match(stdout, seen)
      assert.not.match(stdout, /TLS .*tries/)
    }),
  )
tls('a port without TLS fails', async () => {
  const plain = await startSite()
  const { exitCode, stdout } = await verify(['--url', plain.url.replace('http', 'https'), '--timeout', '0.7'])
  await plain.stop()
  assert.is(exitCode, 1)
  assert.match(stdout, /^fail {2}TLS .*does not speak TLS/m)
  assert.match(stdout, /^fail {2}health .*does not speak TLS/m)
})
tls('a certificate that is not accepted is red at once, for every check', () =>
  withSite('DNS:other.example', 90, async ({ url }) => {
    const started = performance.now()
    const { exitCode, stdout } = await verify(['--url', url, '--timeout', '120'], { env })
    assert.is(exitCode, 1)
    assert.match(
      stdout,
      /^fail {2}homepage with styles .*certificate is not accepted \(ERR_TLS_CERT_ALTNAME_INVALID\)/m,
    )
    assert.ok(performance.now() - started < 60_000)
  }),
)
const DAY_MS = 86_400_000
// Lifetimes that Let's Encrypt gives or will give (6, 45, 64, 90 days), and others'. Renewed at half or at a third of each.
for (const [lifetimeDays, leftDays, expected] of [
  [6.67, 6, 'pass'],
  [6.67, 2.9, 'pass'],
  [6.67, 1.5, 'warn'],
  [6.67, 0.2, 'fail'],
  [14, 4.6, 'pass'],
  [14, 3, 'warn'],
  [14, 0.4, 'fail'],
  [45, 14.9, 'pass'],
  [45, 11, 'warn'],
  [45, 1.4, 'fail'],
  [64, 21, 'pass'],
  [64, 15, 'warn'],
  [90, 29, 'pass'],
  [90, 21, 'pass'],
  [90, 20.9, 'warn'],
  [90, 3, 'warn'],
  [90, 2.9, 'fail'],
  [365, 60, 'pass'],
  [365, 20, 'warn'],
  [365, 2, 'fail'],
] as const)
  tls(`a certificate of ${lifetimeDays} days with ${leftDays} left: ${expected}`, () => {
    const now = new Date('2026-02-28T03:00:00Z')
    const end = new Date(now.getTime() + leftDays * DAY_MS)
    const certificate = {
      validFrom: new Date(end.getTime() - lifetimeDays * DAY_MS).toISOString(),
      validTo: end.toISOString(),
      subjectAltName: 'DNS:site.example',
    }
    const judge = () => judgeCertificate({ certificate, refusal: undefined }, new URL('https://site.example'), now)
    if (expected === 'fail') assert.throws(judge, / left /)
    else assert.is(judge().verdict, expected)
  })
tls('less than two days are told in hours', () => {
  const certificate = { validFrom: '2026-02-24T00:00:00Z', validTo: '2026-03-01T15:30:00Z', subjectAltName: '' }
  const site = new URL('https://site.example')
  const { seen } = judgeCertificate({ certificate, refusal: undefined }, site, new Date('2026-02-28T03:00:00Z'))
  assert.is(seen, 'certificate valid for site.example, 36 hours left (until Sun 1 Mar)')
})
for (const [promise, signal, code] of [
  ['when the time is up', undefined, 1],
  ['after Ctrl-C', 'SIGINT', 130],
] as const)
  tls(`a port that takes connections and says nothing is not waited for ${promise}`, async () => {
    const mute = createServer().listen(0, '127.0.0.1')
    await once(mute, 'listening')
    const started = performance.now()
    const { exitCode } = await verify(
      ['--url', `https://127.0.0.1:${(mute.address() as AddressInfo).port}`, '--timeout', signal ? '600' : '1'],
      signal ? { signal } : {},
    )
    mute.close()
    assert.is(exitCode, code)
    assert.ok(performance.now() - started < 60_000, String(performance.now() - started))
  })
const REDIRECTS: [promise: string, handler: Handler, seen: RegExp][] = [
  ['a redirect to the same host', redirect('https://site.example/', 301), /^plain HTTP redirects to HTTPS \(301\)$/],
  ['a page', html('<h1>Hi</h1>'), /answered 200 instead/],
  ['a redirect that stays on http', redirect('http://site.example/x'), /redirects to http:/],
  ['a redirect to another host', redirect('https://other.example/'), /redirects to https:\/\/other/],
]
for (const [promise, handler, seen] of REDIRECTS)
  tls(`plain HTTP with ${promise}`, async () => {
    const plain = await startSite()
    plain.set('/', handler)
    const saw = await plainRedirect(
      new URL(plain.url),
      new URL('https://site.example'),
      new AbortController().signal,
    ).catch((error: Error) => error.message)
    await plain.stop()
    assert.match(saw, seen)
  })
// At the usual ports, on an address of this machine that nobody else uses: only root may, and no server may listen on all of them.
const host = `127.0.43.${1 + (process.pid % 250)}`

async function isFree(port: number): Promise<boolean> {
  const probe = createServer().listen(port, host)
  const free = await once(probe, 'listening').then(
    () => true,
    () => false,
  )
  probe.close()
  return free
}

const free = (await isFree(80)) && (await isFree(443))
if (!free) console.log('Skipped: the ports 80 and 443 are not free for this user.')
const usual = free ? tls : tls.skip
usual('at the usual ports, plain HTTP must redirect', async () => {
  const secure = await startSite({ host, port: 443, tls: authority.issue(`IP:${host}`, 90) })
  const plain = await startSite({ host, port: 80 })
  try {
    plain.set('/', answer(301, 'text/plain', '', { location: `https://${host}/` }))
    const good = await verify(['--url', secure.url], { env })
    assert.is(good.exitCode, 0)
    assert.match(good.stdout, /^pass {2}TLS .*plain HTTP redirects to HTTPS \(301\)/m)
    plain.set('/', ({ socket }) => void socket.destroy())
    const gone = await verify(['--url', secure.url, '--timeout', '1'], { env })
    assert.match(gone.stdout, /^fail {2}TLS .*plain HTTP: \/: the server closed/m)
    plain.reset()
    const bad = await verify(['--url', secure.url, '--timeout', '1'], { env })
    assert.is(bad.exitCode, 1)
    assert.match(bad.stdout, /^fail {2}TLS .*plain HTTP answered 200/m)
  } finally {
    await Promise.all([secure.stop(), plain.stop()])
  }
})
tls('a certificate whose end is no date is red, and no bug', () => {
  for (const refusal of [undefined, 'CERT_HAS_EXPIRED'])
    for (const [validFrom, validTo] of [
      ['2026-02-24T00:00:00Z', 'Bad time value'],
      ['Bad time value', '2026-03-01T15:30:00Z'],
    ] as const)
      assert.throws(
        () =>
          judgeCertificate(
            { certificate: { validFrom, validTo, subjectAltName: '' }, refusal },
            new URL('https://a.b'),
          ),
        (error: unknown) => error instanceof Unexpected,
      )
})

tls.run()
