// HTTP requests with limits: each redirect, byte and second is counted.
import http, { type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import https from 'node:https'
import { type Transform, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createBrotliDecompress, createGunzip } from 'node:zlib'
import { bytes, duration, oneLine } from '../core/format.ts'
import { VERSION } from '../core/version.ts'
import { findBlock } from './blocked.ts'
import { Blocked, Unexpected } from './run-check.ts'

export interface Reply {
  /** The address that answered in the end. */
  url: URL
  status: number
  /** The content type without its parameters, in lower case. */
  type: string
  headers: IncomingHttpHeaders
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
export const USER_AGENT_NAME = 'book-corners-ops'
export const USER_AGENT = `${USER_AGENT_NAME}/${VERSION} (+verify)`
// Compressed, as browsers ask for it: what is stored compressed is a file of its own, and can be broken by itself.
const HEADERS = { 'user-agent': USER_AGENT, 'accept-language': 'en', accept: '*/*', 'accept-encoding': 'gzip, br' }

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
  const { location } = headers
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

/**
 * One request without following a redirect. Not fetch: what is compressed and cut it takes for whole (undici of Node 20 to 24).
 * @throws Unexpected, Blocked
 */
export async function getOnce(url: URL, { signal, maxBytes = MAX_BYTES }: GetOptions): Promise<Reply> {
  const startedMs = performance.now()
  let response: IncomingMessage | undefined
  const body: Body = { text: '', wireBytes: 0, bytes: 0 }
  try {
    response = await answerOf(url, signal)
    const { statusCode: status = 0, headers } = response
    const type = (headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase() ?? ''
    if (status >= 300 && status < 400) response.destroy()
    else await readBody(response, body, maxBytes)
    const reply = { url, status, type, headers, body: body.text, bytes: body.bytes }
    const block = findBlock(reply)
    if (block)
      throw new Blocked(`${block.by} answered ${short(url)} with ${status} in place of the site`, !block.passing)
    return reply
  } catch (error) {
    if (error instanceof TooLarge) throw new Unexpected(`${short(url)} is larger than ${bytes(maxBytes)}: cut there`)
    if (error instanceof Unexpected) throw error
    if (!signal.aborted) throw explain(error as NodeJS.ErrnoException, url, response, body)
    const waited = duration(performance.now() - startedMs)
    throw new Unexpected(
      response
        ? `${short(url)} answered ${response.statusCode}, but was not complete after ${waited} (${bytes(body.wireBytes)} came)`
        : `${short(url)}: no answer in ${waited}`,
    )
  }
}

function answerOf(url: URL, signal: AbortSignal): Promise<IncomingMessage> {
  const { get } = url.protocol === 'https:' ? https : http
  return new Promise((resolve, reject) => {
    // A connection of its own: one that was kept open may be closed by the server at the very moment it is used again.
    get(url, { headers: HEADERS, signal, agent: false }, resolve).on('error', reject)
  })
}

interface Body {
  text: string
  /** What came over the wire. */
  wireBytes: number
  /** What it is when decompressed. */
  bytes: number
}

class TooLarge extends Error {}

/** Reads the body into `body`, so that what came before an error is known. */
async function readBody(response: IncomingMessage, body: Body, maxBytes: number): Promise<void> {
  const chunks: Buffer[] = []
  response.on('data', (chunk: Buffer) => {
    body.wireBytes += chunk.length
  })
  const decoders = (response.headers['content-encoding'] ?? '').split(',').reverse().flatMap(decoder)
  const sink = new Writable({
    write: (chunk: Buffer, _, done) => {
      chunks.push(chunk)
      body.bytes += chunk.length
      done(body.bytes > maxBytes ? new TooLarge() : null)
    },
  })
  await pipeline([response, ...decoders, sink])
  body.text = new TextDecoder().decode(Buffer.concat(chunks))
}

/** What undoes a content encoding. Each ends with an error when its input is cut. */
function decoder(encoding: string): Transform[] {
  switch (encoding.trim().toLowerCase()) {
    case '':
    case 'identity':
      return []
    case 'gzip':
    case 'x-gzip':
      return [createGunzip()]
    case 'br':
      return [createBrotliDecompress()]
    default:
      throw new Unexpected(`the answer is encoded as ${oneLine(encoding, 40)}, which was not asked for`)
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
}

/** Why a connection could not be made or broke, in words. */
export function trouble({ code = '', message }: NodeJS.ErrnoException): string {
  if (CERTIFICATE.test(code)) return `the certificate is not accepted (${code})`
  // OpenSSL's message is a line of its own source code. Node puts it into a code of its own, or leaves it as EPROTO.
  if (code === 'ERR_SSL_WRONG_VERSION_NUMBER' || /:wrong version number:/.test(message))
    return 'the port does not speak TLS'
  if (code.startsWith('ERR_SSL_')) return `TLS failed (${code})`
  const tlsReason = code === 'EPROTO' ? /SSL routines:[^:]*:([^:]+)/.exec(message)?.[1] : undefined
  if (tlsReason) return `TLS failed (${oneLine(tlsReason)})`
  return CAUSES[code] ?? (oneLine(message) || code)
}

/** Why there is no whole answer. */
function explain(
  error: NodeJS.ErrnoException,
  url: URL,
  response: IncomingMessage | undefined,
  body: Body,
): Unexpected {
  const { code = '', message } = error
  const length = response?.headers['content-length']
  if (response?.complete) {
    const how = code === 'Z_BUF_ERROR' ? 'is cut short' : 'is broken'
    return new Unexpected(`${short(url)} ${how} inside its compression (${response.headers['content-encoding']})`)
  }
  if (response)
    return new Unexpected(
      `${short(url)}: the answer (${response.statusCode}) was cut after ${bytes(body.wireBytes)}${length ? ` of ${bytes(Number(length))}` : ''}`,
    )
  if (message === 'socket hang up')
    return new Unexpected(`${short(url)}: the server closed the connection without an answer`)
  // A bad certificate stays bad while we wait.
  return new Unexpected(`${short(url)}: ${trouble(error)}`, CERTIFICATE.test(code))
}

/** Node's codes for a certificate that it does not accept; codes with ERR_SSL_ mean that the server refuses us. */
const CERTIFICATE = /^(?!ERR_SSL_).*(CERT|SIGNED|UNABLE_TO_)/

/** An address as the table shows it: its path. */
export function short({ pathname, search }: URL): string {
  return oneLine(pathname + search)
}
