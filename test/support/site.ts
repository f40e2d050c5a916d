// A web server with pages shaped like the site's, healthy or broken, and certificates for it.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export type Handler = (request: IncomingMessage, response: ServerResponse) => void

interface SiteOptions {
  /** Serves HTTPS with this certificate. */
  tls?: { key: string; cert: string }
  host?: string
  /** A free one by default. */
  port?: number
  /** Every answer waits this long. */
  delayMs?: number
}

/** A web server with pages shaped like the site's. */
export interface Site {
  /** Without a trailing slash. */
  readonly url: string
  readonly port: number
  /** Every request so far: its path, and its headers. */
  readonly requests: { path: string; headers: IncomingMessage['headers'] }[]
  /** Answers a path in another way; without a handler, as it should again. */
  set(path: string, handler?: Handler): void
  /** Answers everything as it should again. */
  reset(): void
  stop(): Promise<void>
}

/** An answer with a status, a type and a body; whatever the path. */
export function answer(
  status: number,
  type: string,
  body: string | Buffer,
  headers: Record<string, string> = {},
): Handler {
  return (_, response) => void response.writeHead(status, { 'content-type': type, ...headers }).end(body)
}

export function html(body: string, { title = 'Book Corners', head = '', status = 200 } = {}): Handler {
  return answer(
    status,
    'text/html; charset=utf-8',
    `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <title>${title}</title>
    <link rel="icon" href="/static/images/logo.png">
    <link rel="stylesheet" href="/static/css/app.css">
    ${head}
  </head>
  <body>
    <nav><a href="/">Book Corners</a> <a href="/map/">Map</a> <a href="/login/">Login</a></nav>
    <main>${body}</main>
    <footer>
      <form method="post" action="/i18n/setlang/"><input type="hidden" name="csrfmiddlewaretoken" value="footer"><button>Italiano</button></form>
    </footer>
  </body>
</html>
`,
  )
}

export function json(value: unknown, status = 200): Handler {
  return answer(status, 'application/json', JSON.stringify(value))
}

export function geojson(...features: unknown[]): Handler {
  return json({ type: 'FeatureCollection', features })
}

export function redirect(location: string, status = 302): Handler {
  return (_, response) => void response.writeHead(status, { location }).end()
}

/** An HTML page as it stands. */
export function page(text: string): Handler {
  return answer(200, 'text/html', text)
}

/** Promises more than it sends, and hangs up. */
export function cut(type: string, body: string): Handler {
  return (_, response) => {
    response.writeHead(200, { 'content-type': type, 'content-length': String(body.length * 2) })
    response.write(body, () => response.destroy())
  }
}

/** Chunks without the last one. */
export function cutChunks(type: string, body: string): Handler {
  return (_, response) => {
    response.writeHead(200, { 'content-type': type })
    response.write(body, () => setTimeout(() => response.destroy(), 20))
  }
}

/** Ends a connection without saying how long the answer is, as HTTP/1.0 does. */
export function cutSilently(type: string, body: string): Handler {
  return ({ socket }) => void socket.end(`HTTP/1.1 200 OK\r\ncontent-type: ${type}\r\nconnection: close\r\n\r\n${body}`)
}

/** A byte now and then, for ever. */
export function drip(type: string): Handler {
  return (_, response) => {
    response.writeHead(200, { 'content-type': type })
    const timer = setInterval(() => response.write('.'), 50)
    response.on('close', () => clearInterval(timer))
  }
}

/** As fast as it goes, for ever. */
export function flood(type: string): Handler {
  return (_, response) => {
    response.writeHead(200, { 'content-type': type }).on('error', () => {})
    const more = (): void => {
      while (!response.destroyed && response.write('x'.repeat(65_536))) {
        // Until the pipe is full.
      }
    }
    response.on('drain', more)
    more()
  }
}

/** A page with this in its head. */
export function styled(head: string): Handler {
  return page(
    `<!doctype html><html><head><title>Book Corners</title>${head}</head><body><h1>Libraries</h1></body></html>`,
  )
}

/** A map page with this in its body. */
export function map(markup: string): Handler {
  return html(`<h1>Explore</h1>${markup}`)
}

export const LOGIN_FORM = `<h1>Log in</h1>
<form method="post" novalidate>
  <input type="hidden" name="csrfmiddlewaretoken" value="a1b2c3d4">
  <label>Username <input type="text" name="username"></label>
  <label>Password <input type="password" name="password"></label>
  <button>Log in</button>
</form>`

export function feature(longitude: number, latitude: number, name = 'A library'): object {
  return {
    type: 'Feature',
    geometry: { type: 'Point', coordinates: [longitude, latitude] },
    properties: { name },
  }
}

const FEATURES = [
  feature(8.68, 50.11, 'Frankfurt'),
  feature(12.5, 41.9, 'Rome'),
  feature(2.35, 48.86, 'Paris'),
  feature(-0.13, 51.5, 'London'),
]

// What Leaflet makes of the data, on a small scale: a positioned element for each point.
const MAP_SCRIPT = `
const map = document.getElementById('libraries-map')
fetch(map.dataset.mapDataUrl).then((answer) => answer.json()).then(({ features }) => {
  for (const { geometry, properties } of features) {
    const [longitude, latitude] = geometry.coordinates
    const marker = document.createElement('div')
    marker.className = 'leaflet-marker-icon'
    marker.title = properties.name
    marker.style.left = ((longitude + 15) / 45) * 100 + '%'
    marker.style.top = ((62 - latitude) / 28) * 100 + '%'
    map.append(marker)
  }
})`

export const MAP_BODY = `<h1>Explore libraries</h1>
<div id="libraries-map" class="map" data-map-data-url="/map/libraries.geojson" data-list-data-url="/map/libraries/list/"></div>
<script>${MAP_SCRIPT}</script>`

export const CSS = `/*! tailwindcss */
body { margin: 0; font-family: sans-serif; background-color: #f2efe9; color: #2b2b2b }
nav { background: #fff; border-bottom: 1px solid #ddd; padding: 12px 24px }
nav a { color: #7a4b2a; margin-right: 16px; text-decoration: none; font-weight: 700 }
main { max-width: 960px; margin: 0 auto; padding: 24px }
footer { padding: 24px }
.card { background: #fff; border: 1px solid #ddd; border-radius: 8px; padding: 16px; margin: 12px 0 }
.map { position: relative; height: 520px; background: #cfe3ea; border: 1px solid #9bb; overflow: hidden }
.leaflet-marker-icon { position: absolute; width: 18px; height: 18px; margin: -9px; border-radius: 50%; background: #c0392b; border: 2px solid #fff }
`

/** The site as it should be. */
function healthyRoutes(): Map<string, Handler> {
  return new Map([
    [
      '/',
      html(
        '<h1>Find a little free library</h1><p>Community map of neighborhood book exchange spots.</p><form method="get" action="/map/"><input type="text" name="near" placeholder="City"><button>Search</button></form><article class="card">Frankfurt</article><article class="card">Rome</article>',
      ),
    ],
    ['/static/css/app.css', answer(200, 'text/css; charset="utf-8"', CSS, { 'cf-cache-status': 'HIT', age: '42' })],
    ['/login/', html(LOGIN_FORM, { title: 'Login' })],
    ['/map/', html(MAP_BODY, { title: 'Map - Book Corners' })],
    ['/map/libraries.geojson', json({ type: 'FeatureCollection', features: FEATURES })],
    ['/admin/', redirect('/admin/login/?next=/admin/')],
    ['/admin/login/', html(LOGIN_FORM, { title: 'Log in | Django site admin' })],
    ['/health/', json({ status: 'ok' })],
  ])
}

export async function startSite(options: SiteOptions = {}): Promise<Site> {
  const { host = '127.0.0.1', port = 0, delayMs = 0, tls } = options
  let routes = healthyRoutes()
  const requests: Site['requests'] = []
  const sockets = new Set<Socket>()
  const listener: RequestListener = (request, response) => {
    const path = new URL(request.url ?? '/', 'http://site').pathname
    requests.push({ path: request.url ?? '/', headers: request.headers })
    const handler = routes.get(path) ?? html('<h1>Page not found</h1>', { status: 404 })
    if (delayMs > 0) setTimeout(() => handler(request, response), delayMs)
    else handler(request, response)
  }
  const server = tls ? createTlsServer(tls, listener) : createServer(listener)
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket)).on('error', () => {})
  })
  server.on('tlsClientError', () => {})
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, host, resolve))
  const bound = (server.address() as AddressInfo).port
  const usual = bound === (tls ? 443 : 80)
  return {
    url: `${tls ? 'https' : 'http'}://${host}${usual ? '' : `:${bound}`}`,
    port: bound,
    requests,
    set: (path, handler) => {
      const next = handler ?? healthyRoutes().get(path)
      if (next) routes.set(path, next)
      else routes.delete(path)
    },
    reset: () => {
      routes = healthyRoutes()
    },
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        for (const socket of sockets) socket.destroy()
      }),
  }
}

interface Authority {
  /** The authority's own certificate: for NODE_EXTRA_CA_CERTS. */
  readonly caFile: string
  /** A certificate for a name or address (`DNS:…`, `IP:…`) that is good from now until `days` from now; less than 0: it has expired. */
  issue(subject: string, days: number): { key: string; cert: string }
}

function words(text: string): string[] {
  return text.split(' ')
}

/** A certificate authority of our own, made with openssl. */
export function createAuthority(): Authority {
  const dir = mkdtempSync(join(tmpdir(), 'bc-ca-'))
  const openssl = (...args: string[]): void => void execFileSync('openssl', args, { cwd: dir, stdio: 'pipe' })
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  process.on('exit', () => execFileSync('rm', ['-rf', dir]))
  openssl('req', '-x509', ...newKey, ...words('-keyout ca.key -out ca.pem -days 30 -subj'), '/CN=Test authority')
  writeFileSync(
    join(dir, 'ca.cnf'),
    `[ca]\ndefault_ca = own\n[own]\ndatabase = index.txt\nserial = serial\nnew_certs_dir = .\ndefault_md = sha256\npolicy = any\ncopy_extensions = copy\nunique_subject = no\n[any]\ncommonName = optional\n`,
  )
  writeFileSync(join(dir, 'index.txt'), '')
  writeFileSync(join(dir, 'serial'), '01\n')
  const time = (ms: number): string => `${new Date(ms).toISOString().replace(/[-:T]/g, '').slice(0, 14)}Z`
  let count = 0
  return {
    caFile: join(dir, 'ca.pem'),
    issue: (subject, days) => {
      const name = `leaf${++count}`
      const [start, end] = [Date.now() - 90 * 86_400_000, Date.now() + days * 86_400_000 + 3_600_000]
      const names = ['-subj', `/CN=${name}`, '-addext', `subjectAltName=${subject}`]
      openssl('req', ...newKey, ...words(`-keyout ${name}.key -out ${name}.csr`), ...names)
      const signing = words(`-config ca.cnf -cert ca.pem -keyfile ca.key -in ${name}.csr -out ${name}.pem`)
      openssl('ca', '-batch', '-notext', ...signing, '-startdate', time(start), '-enddate', time(end))
      const read = (file: string): string => readFileSync(join(dir, file), 'utf8')
      return { key: read(`${name}.key`), cert: read(`${name}.pem`) }
    },
  }
}
