// Gets pages and stylesheets of the site, and refuses what only looks like one.
import { oneLine } from '../core/format.ts'
import { elements, type Form, forms, scan, type Token, textsOf, visibleText } from './html.ts'
import { type GetOptions, get, type Reply, short } from './request.ts'
import { Unexpected } from './run-check.ts'

/** A whole HTML page that shows what it should, not an error that answers 200. */
export interface Page {
  url: URL
  /** What relative addresses in it start from. */
  base: URL
  tokens: Token[]
  /** What a visitor reads. */
  text: string
  reply: Reply
}

// Titles, headings and short texts of error and maintenance pages: Django's and this app's, nginx's, Dokku's, Cloudflare's.
const NOT_THE_SITE =
  /maintenance|be (right )?back (soon|shortly)|server error|something went wrong|application error|internal error|error \d{3}\b|\b(4\d\d|5\d\d) (error|bad|forbidden|not found|internal|service|gateway)|bad gateway|gateway time-?out|service unavailable|temporarily (unavailable|offline|down)|under construction|page not found|^not found$|bad request|web server is down|no app(lication)? found|welcome to nginx|apache2 .*default page|just a moment|attention required|account suspended|disallowedhost|\w+Error at \//i
const SHORT_TEXT = 400

/**
 * Gets a page of the site.
 * @throws Unexpected when it is not 200, not HTML, cut short, empty, or an error page that answers 200
 */
export async function getPage(address: URL, options: GetOptions): Promise<Page> {
  const reply = await get(address, options)
  requireStatus(reply)
  if (reply.body.trim() === '') throw new Unexpected(`${short(reply.url)} answered 200 with an empty body`)
  if (!/^(text\/html|application\/xhtml\+xml)$/.test(reply.type))
    throw new Unexpected(`${short(reply.url)} is ${oneLine(reply.type) || 'of no content type'}, not HTML`)
  const tokens = scan(reply.body)
  const text = visibleText(tokens)
  const headlines = [...textsOf(tokens, 'title'), ...textsOf(tokens, 'h1')].map((line) => line.slice(0, SHORT_TEXT))
  if (text.length <= SHORT_TEXT) headlines.push(text)
  const bad = headlines.find((line) => NOT_THE_SITE.test(line))
  if (bad) throw new Unexpected(`${short(reply.url)} answered 200 with an error page: “${oneLine(bad, 60)}”`)
  // Without a Content-Length nothing else tells that a page was cut.
  if (elements(tokens, 'html').length > 0 && !tokens.some((token) => token.kind === 'close' && token.name === 'html'))
    throw new Unexpected(`${short(reply.url)} is cut short: its <html> is not closed`)
  const href = elements(tokens, 'base')[0]?.attributes.get('href')
  const base = href && URL.canParse(href, reply.url.href) ? new URL(href, reply.url) : reply.url
  return { url: reply.url, base, tokens, text, reply }
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
    if (!rel.includes('stylesheet') || rel.includes('alternate') || attributes.has('disabled')) return []
    if (media === 'print' || !href || !URL.canParse(href, base.href)) return []
    return [new URL(href, base)]
  })
}

/** @throws Unexpected when it is not a stylesheet that styles anything */
export async function getStylesheet(address: URL, options: GetOptions): Promise<Reply> {
  const reply = await get(address, options)
  requireStatus(reply)
  const name = short(reply.url)
  if (reply.body.trim() === '') throw new Unexpected(`${name} is empty`)
  if (reply.type !== 'text/css')
    throw new Unexpected(`${name} is ${oneLine(reply.type) || 'of no content type'}, not text/css`)
  // What can hold a brace that is not one: comments, strings, addresses. Each alternative matches even if it is not
  // closed, so that no text makes this try again and again.
  const bare = reply.body.replace(
    /\/\*[\s\S]*?(\*\/|$)|"(?:\\[\s\S]?|[^"\\\n])*"?|'(?:\\[\s\S]?|[^'\\\n])*'?|\burl\([^)]*\)?/g,
    '',
  )
  const [open, close] = [bare.split('{').length - 1, bare.split('}').length - 1]
  if (bare.trimStart().startsWith('<')) throw new Unexpected(`${name} is HTML that calls itself text/css`)
  if (open === 0 && !/@import\b/i.test(bare)) throw new Unexpected(`${name} holds no rule`)
  if (open > close) throw new Unexpected(`${name} is cut short: its last rule is not closed`)
  return reply
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
