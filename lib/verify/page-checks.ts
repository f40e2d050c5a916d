// The six checks of what the site serves.
import { bytes, oneLine, plural } from '../core/format.ts'
import { aNumber, aText, atBest, listOf, oneOf, record, type Shape, tryJson } from '../core/outside.ts'
import { elements } from './html.ts'
import {
  getPage,
  getStylesheet,
  hasField,
  isOwn,
  isProtected,
  type Page,
  passwordForms,
  refuseErrorPage,
  requireStatus,
  stylesheets,
} from './page.ts'
import { get, type Reply, short } from './request.ts'
import { type CheckOutcome, type RunnableCheck, Unexpected } from './run-check.ts'

/** The path of the stylesheet that the app's build makes. */
const CSS_PATH = '/static/css/app.css'
const MAX_MAP_BYTES = 20_000_000
const MAX_STYLESHEETS = 8

function pass(...seen: string[]): CheckOutcome {
  return { verdict: 'pass', seen: seen.join(', ') }
}

/** The checks of what the site serves. `site` has no path. */
export function siteChecks(site: URL): RunnableCheck[] {
  return [
    { name: 'homepage with styles', run: (signal) => homepage(site, signal) },
    { name: 'static CSS', run: (signal) => staticCss(site, signal) },
    { name: 'login page', run: (signal) => login(site, signal) },
    { name: 'map with markers', run: (signal) => map(site, signal) },
    { name: 'admin', run: (signal) => admin(site, signal) },
    { name: 'health', run: (signal) => health(site, signal) },
  ]
}

async function homepage(site: URL, signal: AbortSignal): Promise<CheckOutcome> {
  const page = await getPage(new URL('/', site), { signal })
  if (!hasField(page)) refuseErrorPage(page)
  if (page.text === '') throw new Unexpected(`${short(page.url)} shows no text`)
  const linked = stylesheets(page)
  if (linked.length === 0) throw new Unexpected(`${short(page.url)} links no stylesheet`)
  const own = linked.filter((address) => isOwn(address, page.url)).slice(0, MAX_STYLESHEETS)
  if (own.length === 0)
    throw new Unexpected(`${short(page.url)} links no stylesheet of the site, only ${oneLine(linked[0]?.href ?? '')}`)
  const sheets = await Promise.all(own.map((address) => getStylesheet(address, { signal })))
  const seen = sheets.map(
    ({ reply, styles }) =>
      `stylesheet ${oneLine(reply.url.pathname, 60)} ${styles ? bytes(reply.bytes) : 'holds no rule'}`,
  )
  if (!sheets.some(({ styles }) => styles)) throw new Unexpected(seen.join(', '))
  const outcome = pass(`200, HTML ${bytes(page.reply.bytes)}`, ...seen)
  // One of several may be empty on purpose.
  return sheets.every(({ styles }) => styles) ? outcome : { ...outcome, verdict: 'warn' }
}

async function staticCss(site: URL, signal: AbortSignal): Promise<CheckOutcome> {
  const { reply, name } = await linkedCss(site, signal)
  return pass(`200, text/css ${bytes(reply.bytes)}`, ...name, cacheState(reply))
}

// Django and WhiteNoise put a hash into the name (`app.3f2a1c4b5d6e.css`), and may serve that name alone.
const HASHED_CSS = /\/app[.-](?=[\w-]*\d)[\w-]{6,40}\.css$/

/** The stylesheet that the build makes, by its plain name or by the one that the homepage links. */
async function linkedCss(site: URL, signal: AbortSignal): Promise<{ reply: Reply; name: string[] }> {
  try {
    return { reply: await getRules(new URL(CSS_PATH, site), signal), name: [] }
  } catch (error) {
    if (!(error instanceof Unexpected)) throw error
    const page = await getPage(new URL('/', site), { signal }).catch(() => undefined)
    const hashed =
      page && stylesheets(page).find((address) => isOwn(address, page.url) && HASHED_CSS.test(address.pathname))
    if (!hashed) throw error
    return { reply: await getRules(hashed, signal), name: [`as ${oneLine(hashed.pathname, 60)}`] }
  }
}

/** @throws Unexpected when it sets nothing */
async function getRules(address: URL, signal: AbortSignal): Promise<Reply> {
  const { reply, styles } = await getStylesheet(address, { signal })
  if (!styles) throw new Unexpected(`${short(reply.url)} ${reply.body.trim() === '' ? 'is empty' : 'holds no rule'}`)
  return reply
}

/** What Cloudflare's cache says of an answer. */
function cacheState({ headers }: Reply): string {
  const { 'cf-cache-status': status, age } = headers
  if (status === undefined && age === undefined) return 'not through a cache'
  return [
    status === undefined ? [] : `cf-cache-status ${oneLine(String(status), 20)}`,
    age === undefined ? [] : `age ${oneLine(age, 12)} s`,
  ]
    .flat()
    .join(', ')
}

async function login(site: URL, signal: AbortSignal): Promise<CheckOutcome> {
  const page = await getPage(new URL('/login/', site), { signal })
  requireLoginPath(page)
  const candidates = passwordForms(page)
  if (candidates.length === 0) refuseErrorPage(page)
  if (candidates.length === 0) throw new Unexpected(`${short(page.url)} has no form with a password field`)
  if (!candidates.some(isProtected)) throw new Unexpected(`the password form of ${short(page.url)} has no CSRF token`)
  return pass('200', 'password form with its CSRF token', ...movedTo('/login/', page))
}

async function admin(site: URL, signal: AbortSignal): Promise<CheckOutcome> {
  const page = await getPage(new URL('/admin/', site), { signal })
  const [form] = passwordForms(page)
  if (!form) refuseErrorPage(page)
  const inside = elements(page.tokens).some(({ attributes }) =>
    ['href', 'action'].some((name) => /\/logout\/?$/.test(attributes.get(name) ?? '')),
  )
  if (page.url.pathname === '/admin/' && (inside || !form))
    throw new Unexpected('/admin/ answered 200 without asking for a login')
  if (page.url.pathname !== '/admin/') requireLoginPath(page)
  if (!form) throw new Unexpected(`/admin/ leads to ${short(page.url)}, which has no form with a password field`)
  return pass('asks for a login', ...movedTo('/admin/', page))
}

/** A password field on some other page is not the login page. */
function requireLoginPath({ url }: Page): void {
  if (!/log-?in|sign-?in/i.test(url.pathname)) throw new Unexpected(`it leads to ${short(url)}, which is no login page`)
}

function movedTo(path: string, { url }: Page): string[] {
  return url.pathname === path ? [] : [`at ${short(url)}`]
}

async function map(site: URL, signal: AbortSignal): Promise<CheckOutcome> {
  const page = await getPage(new URL('/map/', site), { signal })
  const element = elements(page.tokens).find(({ attributes }) => attributes.get('id') === 'libraries-map')
  if (!element) refuseErrorPage(page)
  if (!element) throw new Unexpected(`${short(page.url)} has no element #libraries-map`)
  const named = element.attributes.get('data-map-data-url')?.trim()
  if (!named) throw new Unexpected(`#libraries-map of ${short(page.url)} names no data address`)
  if (!URL.canParse(named, page.base.href)) throw new Unexpected(`the map's data address is none: ${oneLine(named)}`)
  const address = new URL(named, page.base)
  if (address.origin !== page.url.origin)
    throw new Unexpected(`the map's data is off the site, at ${oneLine(address.href)}`)
  // As the page's own script does it. Without a zoom the site sends every library there is, not clusters of them.
  const zoom = element.attributes.get('data-default-zoom')
  if (zoom && !address.searchParams.has('zoom')) address.searchParams.set('zoom', zoom)
  const reply = await get(address, { signal, maxBytes: MAX_MAP_BYTES })
  requireStatus(reply)
  const { features, type } = parseJson(reply, COLLECTION)
  if (type !== 'FeatureCollection' || !features)
    throw new Unexpected(`${short(reply.url)} is no GeoJSON FeatureCollection`)
  const points = features.filter(Boolean).length
  if (points === 0)
    throw new Unexpected(
      `${short(reply.url)} has ${features.length === 0 ? 'no feature' : `${plural(features.length, 'feature')}, none with a point`}`,
    )
  return pass('200', `${short(reply.url)} has ${plural(points, 'point')}, ${bytes(reply.bytes)}`)
}

const COLLECTION = record({ type: atBest(aText), features: atBest(listOf(atBest(point))) })
const FEATURE = record({
  type: oneOf('Feature'),
  geometry: record({ type: oneOf('Point'), coordinates: listOf(aNumber) }),
})

/** Whether it is a feature with a point on this planet. */
function point(value: unknown): boolean {
  const [longitude = Number.NaN, latitude = Number.NaN] = FEATURE(value).geometry.coordinates
  return Math.abs(longitude) <= 180 && Math.abs(latitude) <= 90
}

async function health(site: URL, signal: AbortSignal): Promise<CheckOutcome> {
  const reply = await get(new URL('/health/', site), { signal })
  const said = oneLine(reply.body, 80)
  if (reply.status !== 200)
    throw new Unexpected(
      `${short(reply.url)} answered ${reply.status}${said && reply.type.includes('json') ? `: ${said}` : ''}`,
    )
  const { status } = parseJson(reply, record({ status: atBest(aText) }))
  if (status !== 'ok') throw new Unexpected(`${short(reply.url)} does not say status: ok, but ${said}`)
  return pass('200', 'status: ok')
}

/** @throws Unexpected when it is not a JSON object, or does not call itself JSON */
function parseJson<T>({ url, body, type }: Reply, shape: Shape<T>): T {
  if (body.trim() === '') throw new Unexpected(`${short(url)} answered 200 with an empty body`)
  if (!/[/+]json$/.test(type))
    throw new Unexpected(`${short(url)} is ${oneLine(type) || 'of no content type'}, not JSON`)
  const value = tryJson(body, shape)
  if (value !== undefined) return value
  throw new Unexpected(`${short(url)} is no JSON object: ${oneLine(body, 60)}`)
}
