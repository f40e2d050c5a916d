// HTTP requests with limits: each redirect, byte and second is counted.
import { bytes, duration, oneLine } from '../core/format.ts'
import { VERSION } from '../core/version.ts'
import { Unexpected } from './run-check.ts'

export interface Reply {
  /** The address that answered in the end. */
  url: URL
  status: number
  /** The content type without its parameters, in lower case. */
  type: string
  headers: Headers
  body: string
  bytes: number
}

export interface GetOptions {
  signal: AbortSignal
  /** A longer body is cut here, and is a failure. */
  maxBytes?: number
}

const MAX_BYTES = 5_000_000
const MAX_REDIRECTS = 10
/** How every request names itself in the site's log. */
export const USER_AGENT = `book-corners-ops/${VERSION} (+verify)`
const HEADERS = { 'user-agent': USER_AGENT, 'accept-language': 'en' }

/**
 * Gets an address, following redirects on the same host.
 * @throws Unexpected for anything that is not a whole answer; its status and content are the caller's to judge
 */
export async function get(address: URL, options: GetOptions): Promise<Reply> {
  const visited: string[] = []
  for (let url = address; ; ) {
    if (visited.includes(url.href))
      throw new Unexpected(`redirect loop: ${[...visited, url.href].map((href) => short(new URL(href))).join(' → ')}`)
    if (visited.length > MAX_REDIRECTS)
      throw new Unexpected(`more than ${MAX_REDIRECTS} redirects, now to ${short(url)}`)
    visited.push(url.href)
    const reply = await getOnce(url, options)
    const next = redirectTarget(reply)
    if (!next) return reply
    if (!isSameSite(next, url)) throw new Unexpected(`${short(url)} redirects off the site, to ${oneLine(next.href)}`)
    url = next
  }
}

/** Where a redirect leads. @throws Unexpected for one that leads nowhere */
export function redirectTarget({ url, status, headers }: Reply): URL | undefined {
  if (![301, 302, 303, 307, 308].includes(status)) return
  const location = headers.get('location')
  if (!location || !URL.canParse(location, url.href))
    throw new Unexpected(
      `${short(url)} answered ${status} ${location ? `to ${oneLine(location)}` : 'without a Location'}`,
    )
  return new URL(location, url)
}

/** The same scheme, host and port, or the step from http:// to https:// at their usual ports. */
function isSameSite(next: URL, from: URL): boolean {
  return (
    next.origin === from.origin ||
    (next.hostname === from.hostname &&
      from.protocol === 'http:' &&
      next.protocol === 'https:' &&
      !from.port &&
      !next.port)
  )
}

/** One request without following a redirect. */
export async function getOnce(url: URL, { signal, maxBytes = MAX_BYTES }: GetOptions): Promise<Reply> {
  const startedMs = performance.now()
  let response: Response | undefined
  let count = 0
  try {
    response = await fetch(url, { headers: HEADERS, redirect: 'manual', signal })
    const { status, headers } = response
    const type = (headers.get('content-type') ?? '').split(';')[0]?.trim().toLowerCase() ?? ''
    const chunks: Uint8Array[] = []
    const redirected = status >= 300 && status < 400
    if (redirected) await response.body?.cancel()
    else
      for await (const chunk of response.body ?? []) {
        chunks.push(chunk)
        count += chunk.length
        if (count > maxBytes) throw new Unexpected(`${short(url)} is larger than ${bytes(maxBytes)}: cut there`)
      }
    return { url, status, type, headers, body: new TextDecoder().decode(Buffer.concat(chunks)), bytes: count }
  } catch (error) {
    if (error instanceof Unexpected) throw error
    if (!signal.aborted) throw explain(error, url, response, count)
    const waited = duration(performance.now() - startedMs)
    throw new Unexpected(
      response
        ? `${short(url)} answered ${response.status}, but was not complete after ${waited} (${bytes(count)} came)`
        : `${short(url)}: no answer in ${waited}`,
    )
  }
}

const CAUSES: Record<string, string> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'the connection was reset',
  ENOTFOUND: 'the host name does not exist',
  EAI_AGAIN: 'the host name could not be looked up',
  EHOSTUNREACH: 'the host is unreachable',
  ENETUNREACH: 'the network is unreachable',
  ETIMEDOUT: 'the connection timed out',
  UND_ERR_CONNECT_TIMEOUT: 'the connection timed out',
  UND_ERR_SOCKET: 'the server closed the connection without an answer',
}

/** Why a connection could not be made or broke, in words. */
export function trouble({ code = '', message }: NodeJS.ErrnoException): string {
  if (CERTIFICATE.test(code)) return `the certificate is not accepted (${code})`
  // OpenSSL's message is a line of its own source code.
  if (code === 'ERR_SSL_WRONG_VERSION_NUMBER') return 'the port does not speak TLS'
  if (code.startsWith('ERR_SSL_')) return `TLS failed (${code})`
  return CAUSES[code] ?? (oneLine(message) || code)
}

/** Why fetch gave up. It wraps the cause, and with several addresses of a host the cause holds one error for each. */
function explain(error: unknown, url: URL, response: Response | undefined, count: number): Unexpected {
  const cause = (error instanceof Error && error.cause instanceof Error ? error.cause : error) as NodeJS.ErrnoException
  const length = response?.headers.get('content-length')
  if (response)
    return new Unexpected(
      `${short(url)}: the answer (${response.status}) was cut after ${bytes(count)}${length ? ` of ${bytes(Number(length))}` : ''}`,
    )
  // A bad certificate stays bad while we wait.
  return new Unexpected(`${short(url)}: ${trouble(cause)}`, CERTIFICATE.test(cause.code ?? ''))
}

/** Node's codes for a certificate that it does not accept; codes with ERR_SSL_ mean that the server refuses us. */
const CERTIFICATE = /^(?!ERR_SSL_).*(CERT|SIGNED|UNABLE_TO_)/

/** An address as the table shows it: its path. */
export function short({ pathname, search }: URL): string {
  return oneLine(pathname + search)
}
