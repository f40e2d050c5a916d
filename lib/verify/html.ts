// Reads HTML as far as the checks need it: tags, attributes, texts, forms.

/** One thing of a page, in the order of its text. Names are in lower case; attribute values and text have their entities resolved. */
export type Token =
  | { kind: 'open'; name: string; attributes: ReadonlyMap<string, string> }
  | { kind: 'close'; name: string }
  | { kind: 'text'; text: string }

// Their content is text, whatever it looks like.
const RAW_TEXT = new Set(['script', 'style', 'textarea', 'title', 'iframe', 'noembed', 'xmp'])
// Their content is markup that no visitor gets.
const INERT = new Set(['template', 'noscript'])
const ENTITIES: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: ' ' }

const COMMENT = /<!--(?:-?>|[\s\S]*?(?:--!?>|$))|<[!?][^>]*(?:>|$)/y
const NAME = /<(\/?)([a-z][^\s/>]*)/iy
const ATTRIBUTE = /([^\s"'<>/=]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+)))?/g

/**
 * Reads HTML as tolerantly as these checks need it: any attribute order and quoting, upper case, entities, comments.
 * Never throws, and takes time in proportion to the text: what is never closed reaches to the end, as in a browser.
 */
export function scan(html: string): Token[] {
  const tokens: Token[] = []
  const addText = (text: string): void => {
    if (text === '') return
    const last = tokens.at(-1)
    if (last?.kind === 'text') last.text += unescapeHtml(text)
    else tokens.push({ kind: 'text', text: unescapeHtml(text) })
  }
  for (let at = 0; at < html.length; ) {
    const next = html.indexOf('<', at)
    addText(html.slice(at, next === -1 ? html.length : next))
    if (next === -1) break
    COMMENT.lastIndex = NAME.lastIndex = next
    if (COMMENT.test(html)) {
      at = COMMENT.lastIndex
      continue
    }
    const tag = NAME.exec(html)
    if (!tag) {
      addText('<')
      at = next + 1
      continue
    }
    const name = (tag[2] ?? '').toLowerCase()
    const end = endOfTag(html, NAME.lastIndex)
    const rest = html.slice(NAME.lastIndex, end)
    at = end + 1
    if (tag[1]) tokens.push({ kind: 'close', name })
    else if (INERT.has(name)) at = contentEnd(html, name, at)
    else {
      tokens.push({ kind: 'open', name, attributes: parseAttributes(rest) })
      if (!RAW_TEXT.has(name)) continue
      const close = contentEnd(html, name, at)
      addText(html.slice(at, close))
      at = close
    }
  }
  return tokens
}

/** Where the `>` of a tag is, beyond quoted values; the end of the text when there is none. */
function endOfTag(html: string, from: number): number {
  let quote = ''
  for (let at = from; at < html.length; at++) {
    const char = html[at] as string
    if (quote) quote = char === quote ? '' : quote
    else if (char === '>') return at
    else if (char === '"' || char === "'") quote = char
  }
  return html.length
}

/** Where the end tag of an element starts; the end of the text when there is none. */
function contentEnd(html: string, name: string, from: number): number {
  const end = new RegExp(`</${name}[\\s/>]`, 'gi')
  end.lastIndex = from
  return end.exec(html)?.index ?? html.length
}

function parseAttributes(text: string): Map<string, string> {
  const attributes = new Map<string, string>()
  for (const [, name = '', double, single, bare] of text.matchAll(ATTRIBUTE)) {
    const key = name.toLowerCase()
    // Of an attribute given twice, the first counts.
    if (!attributes.has(key)) attributes.set(key, unescapeHtml(double ?? single ?? bare ?? ''))
  }
  return attributes
}

function unescapeHtml(text: string): string {
  return text.replace(/&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|([a-z]+));?/gi, (all, decimal, hex, name) => {
    if (name !== undefined) return ENTITIES[name.toLowerCase()] ?? all
    const code = decimal === undefined ? Number.parseInt(hex, 16) : Number(decimal)
    return code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : all
  })
}

type Open = Extract<Token, { kind: 'open' }>

export function elements(tokens: readonly Token[], name?: string): Open[] {
  return tokens.filter((token): token is Open => token.kind === 'open' && (name === undefined || token.name === name))
}

/** The texts of all elements of a name, blanks collapsed; of one that is not closed, what directly follows. */
export function textsOf(tokens: readonly Token[], name: string): string[] {
  const texts: string[] = []
  let inside: Token[] | undefined
  for (const token of tokens) {
    if (token.kind === 'text' || token.name !== name) {
      inside?.push(token)
      continue
    }
    if (inside) texts.push(joinText(token.kind === 'close' ? inside : inside.slice(0, 1)))
    inside = token.kind === 'open' ? [] : undefined
  }
  return inside ? [...texts, joinText(inside.slice(0, 1))] : texts
}

/** What a visitor reads: all text but that of the head, scripts and styles. */
export function visibleText(tokens: readonly Token[]): string {
  return joinText(
    tokens.filter((_, i) => {
      const before = tokens[i - 1]
      return !(before?.kind === 'open' && ['script', 'style', 'title', 'iframe'].includes(before.name))
    }),
  )
}

function joinText(tokens: readonly Token[]): string {
  return tokens
    .map((token) => (token.kind === 'text' ? token.text : ' '))
    .join('')
    .replace(/\s+/g, ' ')
    .trim()
}

export interface Form {
  attributes: ReadonlyMap<string, string>
  inputs: ReadonlyMap<string, string>[]
}

export function forms(tokens: readonly Token[]): Form[] {
  const found: Form[] = []
  let inside: Form | undefined
  for (const token of tokens) {
    if (token.kind === 'text' || (token.name !== 'form' && token.name !== 'input')) continue
    if (token.kind === 'close') inside = undefined
    else if (token.name === 'input') inside?.inputs.push(new Map(token.attributes))
    else if (!inside) {
      // HTML has no forms in forms: an inner one is ignored.
      inside = { attributes: token.attributes, inputs: [] }
      found.push(inside)
    }
  }
  return found
}
