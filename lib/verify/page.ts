// Gets pages and stylesheets of the site, and refuses what only looks like one.
import { oneLine } from '../core/format.ts'
import { readCss } from './css.ts'
import { elements, type Form, forms, scan, type Token, textsOf, visibleText } from './html.ts'
import { type GetOptions, get, type Reply, short } from './request.ts'
import { Unexpected } from './run-check.ts'

/** A whole HTML page. */
export interface Page {
  url: URL
  /** What relative addresses in it start from. */
  base: URL
  tokens: Token[]
  /** What a visitor reads. */
  text: string
  reply: Reply
}

// What error and maintenance pages say in their titles and headings: Django's and this app's, nginx's, Dokku's, Cloudflare's.
const ERROR =
  /be (right )?back (soon|shortly)|server error|something went wrong|application error|internal error|error \d{3}\b|\b(4\d\d|5\d\d) (error|bad|forbidden|not found|internal|service|gateway)|bad gateway|gateway time-?out|service unavailable|temporarily (unavailable|offline|down)|under construction|page not found|^not found$|bad request|web server is down|no app(lication)? found|welcome to nginx|apache2 .{0,80}default page|just a moment|attention required|account suspended|disallowedhost|\wError at \//i
// That it is now. "Scheduled maintenance on Sunday" stands on pages that work.
const MAINTENANCE =
  /^((site|scheduled|planned|server) )?maintenance( (mode|break|page))?\W*$|maintenance mode|\b(down|closed|offline|unavailable|under|undergoing)\b[^.!?]{0,40}\bmaintenance\b/i
const SHORT_TEXT = 400

/**
 * Gets a page of the site.
 * @throws Unexpected when it is not 200, not HTML, empty, or cut short
 */
export async function getPage(address: URL, options: GetOptions): Promise<Page> {
  const reply = await get(address, options)
  requireStatus(reply)
  if (reply.body.trim() === '') throw new Unexpected(`${short(reply.url)} answered 200 with an empty body`)
  if (!/^(text\/html|application\/xhtml\+xml)$/.test(reply.type))
    throw new Unexpected(`${short(reply.url)} is ${oneLine(reply.type) || 'of no content type'}, not HTML`)
  const { tokens, cutIn } = scan(reply.body)
  // End tags may be left out, even that of <html>: only the middle of something is no place to end.
  if (cutIn !== undefined) throw new Unexpected(`${short(reply.url)} is cut short: it ends inside ${cutIn}`)
  const href = elements(tokens, 'base')[0]?.attributes.get('href')
  const base = href && URL.canParse(href, reply.url.href) ? new URL(href, reply.url) : reply.url
  return { url: reply.url, base, tokens, text: visibleText(tokens), reply }
}

/**
 * For a page that does not show what it should: one with its form or its map is none, whatever a banner on it says.
 * @throws Unexpected when it is an error page that answers 200
 */
export function refuseErrorPage({ url, tokens, text }: Page): void {
  const isError = (line: string): boolean => ERROR.test(line) || MAINTENANCE.test(line)
  const [title = ''] = textsOf(tokens, 'title').map((line) => line.slice(0, SHORT_TEXT))
  const headings = textsOf(tokens, 'h1').map((line) => line.slice(0, SHORT_TEXT))
  const isBare = text.length <= SHORT_TEXT && !elements(tokens, 'a').some(({ attributes }) => attributes.has('href'))
  const bad =
    [title].find((line) => isError(line) || /maintenance/i.test(line)) ??
    (headings.every(isError) ? headings[0] : undefined) ??
    (isBare && isError(text) ? text : undefined)
  if (bad !== undefined) throw new Unexpected(`${short(url)} answered 200 with an error page: “${oneLine(bad, 60)}”`)
}

/** Whether there is something to fill in: an error page has nothing to ask. */
export function hasField({ tokens }: Page): boolean {
  return forms(tokens).some(({ inputs }) =>
    inputs.some((input) => /^(|text|search|email|password)$/i.test(input.get('type') ?? '')),
  )
}

export function requireStatus({ url, status }: Reply): void {
  if (status !== 200) throw new Unexpected(`${short(url)} answered ${status}`)
}

/** The addresses of the stylesheets that apply on a screen, in the page's order. */
export function stylesheets({ base, tokens }: Page): URL[] {
  return elements(tokens, 'link').flatMap(({ attributes }) => {
    const rel = (attributes.get('rel') ?? '').toLowerCase().split(/\s+/)
    const media = attributes.get('media')?.trim().toLowerCase()
    const href = attributes.get('href')?.trim()
    // Loaded without holding up the page: a script of the link's own makes it a stylesheet, or one for the screen.
    const isLate = attributes.has('onload')
    const isStylesheet =
      rel.includes('stylesheet') || (isLate && rel.includes('preload') && attributes.get('as') === 'style')
    if (!isStylesheet || rel.includes('alternate') || attributes.has('disabled')) return []
    if ((media === 'print' && !isLate) || !href || !URL.canParse(href, base.href)) return []
    return [new URL(href, base)]
  })
}

/** Whether an address belongs to the site: its own, or a host below it, where static files may be. */
export function isOwn({ origin, protocol, hostname }: URL, site: URL): boolean {
  return origin === site.origin || (protocol === site.protocol && hostname.endsWith(`.${site.hostname}`))
}

interface Stylesheet {
  reply: Reply
  /** It sets something, itself or by what it imports. */
  styles: boolean
}

const MAX_IMPORTS = 4
const MAX_DEPTH = 3

/** @throws Unexpected when it is no whole stylesheet */
export async function getStylesheet(address: URL, options: GetOptions, depth = 1): Promise<Stylesheet> {
  const reply = await get(address, options)
  requireStatus(reply)
  const name = short(reply.url)
  if (reply.body !== '' && reply.type !== 'text/css')
    throw new Unexpected(`${name} is ${oneLine(reply.type) || 'of no content type'}, not text/css`)
  if (/^\s*<(?!!--)/.test(reply.body)) throw new Unexpected(`${name} is HTML that calls itself text/css`)
  const { hasDeclaration, imports, open } = readCss(reply.body)
  if (open !== undefined) throw new Unexpected(`${name} is cut short: its last ${open} is not closed`)
  if (hasDeclaration || imports.length === 0) return { reply, styles: hasDeclaration }
  const addresses = imports.filter((href) => URL.canParse(href, reply.url.href)).map((href) => new URL(href, reply.url))
  // What another site serves is not judged.
  if (addresses.some((imported) => !isOwn(imported, reply.url))) return { reply, styles: true }
  if (depth === MAX_DEPTH) return { reply, styles: false }
  const imported = await Promise.all(
    addresses.slice(0, MAX_IMPORTS).map((next) => getStylesheet(next, options, depth + 1)),
  )
  return { reply, styles: imported.some(({ styles }) => styles) }
}

/** The page's forms with a password field that are sent to the site itself. */
export function passwordForms({ url, base, tokens }: Page): Form[] {
  return forms(tokens).filter(({ attributes, inputs }) => {
    const action = attributes.get('action')?.trim() || url.href
    const isOurs = URL.canParse(action, base.href) && new URL(action, base).origin === url.origin
    return isOurs && inputs.some((input) => input.get('type')?.toLowerCase() === 'password')
  })
}

/** Whether a form carries Django's CSRF token. */
export function isProtected({ inputs }: Form): boolean {
  return inputs.some((input) => input.get('name') === 'csrfmiddlewaretoken' && Boolean(input.get('value')?.trim()))
}
