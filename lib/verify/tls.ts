// The certificate, and whether plain HTTP leads to HTTPS.
import type { X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import { connect } from 'node:tls'
import { oneLine, plural } from '../core/format.ts'
import { day } from '../core/times.ts'
import { getOnce, redirectTarget, trouble } from './request.ts'
import { Blocked, type Check, type CheckOutcome, Unexpected } from './run-check.ts'

const DAY_MS = 86_400_000
// Of its own lifetime, so that the short ones, too, are renewed well before: at a third of it, or half of less than ten days.
// https://letsencrypt.org/docs/integration-guide/ and certbot 4. The days are those of a certificate of 90 days and more.
const WARN = { share: 1 / 4, days: 21 }
const FAIL = { share: 1 / 30, days: 3 }

export function tlsCheck(site: URL): Check {
  const name = 'TLS'
  if (site.protocol === 'http:') return { name, skip: 'the address is http://: there is no certificate' }
  return {
    name,
    run: async (signal) => {
      const [certificate, redirect] = await Promise.allSettled([
        readCertificate(site, signal).then((seen) => judgeCertificate(seen, site)),
        // Where plain HTTP would be is only known for the usual port.
        site.port === ''
          ? plainRedirect(new URL(`http://${site.host}/`), site, signal)
          : 'plain HTTP not checked: not port 443',
      ])
      for (const part of [certificate, redirect]) if (part.status === 'rejected') throw part.reason
      const found = (certificate as PromiseFulfilledResult<CheckOutcome>).value
      return { ...found, seen: `${found.seen}, ${(redirect as PromiseFulfilledResult<string>).value}` }
    },
  }
}

interface SeenCertificate {
  certificate: Pick<X509Certificate, 'validFrom' | 'validTo' | 'subjectAltName'> | undefined
  /** Node's code for why it is not accepted. */
  refusal: string | undefined
}

/** Makes a TLS connection and closes it. A certificate that is not accepted is read all the same; nothing is sent over it. */
function readCertificate(site: URL, signal: AbortSignal): Promise<SeenCertificate> {
  return new Promise((resolve, reject) => {
    const host = site.hostname.replace(/^\[|\]$/g, '')
    const socket = connect({
      host,
      port: Number(site.port || 443),
      rejectUnauthorized: false,
      ...(isIP(host) ? {} : { servername: host }),
    })
    const onAbort = (): void => void socket.destroy(new Error('no TLS handshake in time'))
    signal.addEventListener('abort', onAbort, { once: true })
    socket.on('close', () => signal.removeEventListener('abort', onAbort))
    socket.on('error', (error) => reject(new Unexpected(`TLS with ${site.host}: ${trouble(error)}`)))
    socket.on('end', () => reject(new Unexpected(`TLS with ${site.host}: the server hung up`)))
    socket.once('secureConnect', () => {
      const error: unknown = socket.authorizationError
      const refusal = error instanceof Error ? ((error as NodeJS.ErrnoException).code ?? error.message) : error
      resolve({
        certificate: socket.getPeerX509Certificate(),
        refusal: socket.authorized ? undefined : String(refusal),
      })
      socket.destroy()
    })
  })
}

/** `Mar  1 12:00:00 2026 GMT`. */
function dateOf(text: string): Date | undefined {
  const date = new Date(text)
  return Number.isNaN(date.getTime()) ? undefined : date
}

/**
 * Pure.
 * @throws Unexpected, final: a bad certificate stays bad while we wait
 */
export function judgeCertificate({ certificate, refusal }: SeenCertificate, site: URL, now = new Date()): CheckOutcome {
  const end = certificate ? dateOf(certificate.validTo) : undefined
  const date = end ? day(end, now) : 'unknown'
  if (refusal === 'CERT_HAS_EXPIRED') throw new Unexpected(`the certificate expired on ${date}`, true)
  if (refusal === 'ERR_TLS_CERT_ALTNAME_INVALID')
    throw new Unexpected(
      `the certificate is not for ${site.hostname}, but for ${oneLine(certificate?.subjectAltName ?? 'no name')}`,
      true,
    )
  if (refusal !== undefined) throw new Unexpected(`the certificate is not trusted (${oneLine(refusal)})`, true)
  if (!certificate) throw new Unexpected('the server shows no certificate')
  const begin = dateOf(certificate.validFrom)
  if (!end || !begin)
    throw new Unexpected(
      `the certificate's dates can't be read: ${oneLine(certificate.validFrom)} to ${oneLine(certificate.validTo)}`,
      true,
    )
  const lifetimeMs = end.getTime() - begin.getTime()
  const leftMs = end.getTime() - now.getTime()
  const isBelow = ({ share, days }: typeof WARN): boolean => leftMs < Math.min(share * lifetimeMs, days * DAY_MS)
  const left =
    leftMs < 2 * DAY_MS ? plural(Math.floor(leftMs / 3_600_000), 'hour') : plural(Math.floor(leftMs / DAY_MS), 'day')
  const seen = `certificate valid for ${site.hostname}, ${left} left (until ${date})`
  if (isBelow(FAIL)) throw new Unexpected(seen, true)
  return { verdict: isBelow(WARN) ? 'warn' : 'pass', seen }
}

/** @throws Unexpected when plain HTTP does not send visitors to HTTPS on the same host */
export async function plainRedirect(plain: URL, site: URL, signal: AbortSignal): Promise<string> {
  const reply = await getOnce(plain, { signal }).catch((error: unknown) => {
    throw error instanceof Unexpected && !(error instanceof Blocked)
      ? new Unexpected(`plain HTTP: ${error.message}`)
      : error
  })
  const target = redirectTarget(reply)
  if (!target) throw new Unexpected(`plain HTTP answered ${reply.status} instead of redirecting to HTTPS`)
  if (target.protocol !== 'https:' || target.host !== site.host)
    throw new Unexpected(`plain HTTP redirects to ${oneLine(target.href)} instead of ${site.origin}`)
  return `plain HTTP redirects to HTTPS (${reply.status})`
}
