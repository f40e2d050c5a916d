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

const COMMENT = /<!--(?:-?>|[\s\S]*?(--!?>|$))|<[!?][^>]*(>|$)/y
const NAME = /<(\/?)([a-z][^\s/>]*)/iy
const BETWEEN_ATTRIBUTES = /[\s/]*/y
const ATTRIBUTE = /([^\s/>][^\s/>=]*)(?:\s*=\s*(?:"([^"]*)("?)|'([^']*)('?)|([^\s>"'][^\s>]*)))?/y

interface Scan {
  tokens: Token[]
  /** What the text ends in the middle of, which no whole page does. */
  cutIn?: string
}

/**
 * Reads HTML as tolerantly as these checks need it: any attribute order and quoting, upper case, entities, comments, end tags
 * left out. Never throws, and takes time in proportion to the text: what is never closed reaches to the end, as in a browser.
 */
export function scan(html: string): Scan {
  const tokens: Token[] = []
  let cutIn: string | undefined
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
    const comment = COMMENT.exec(html)
    if (comment) {
      at = COMMENT.lastIndex
      if (comment[1] === '' || comment[2] === '') cutIn = 'a comment'
      continue
    }
    const [, slash, word] = NAME.exec(html) ?? []
    if (word === undefined) {
      addText('<')
      at = next + 1
      continue
    }
    const name = word.toLowerCase()
    const { attributes, end } = readAttributes(html, NAME.lastIndex)
    at = end ?? html.length
    if (end === undefined) cutIn = 'a tag'
    else if (slash) tokens.push({ kind: 'close', name })
    else {
      if (!INERT.has(name)) tokens.push({ kind: 'open', name, attributes })
      if (!INERT.has(name) && !RAW_TEXT.has(name)) continue
      const close = contentEnd(html, name, at)
      if (close === undefined) cutIn = `<${name}>`
      if (RAW_TEXT.has(name)) addText(html.slice(at, close))
      at = close ?? html.length
    }
  }
  return { tokens, ...(cutIn === undefined ? {} : { cutIn }) }
}

/** The attributes of a tag from behind its name, and where the tag ends; no end when the text ends before. */
function readAttributes(html: string, from: number): { attributes: Map<string, string>; end?: number } {
  const attributes = new Map<string, string>()
  for (let at = from; ; ) {
    BETWEEN_ATTRIBUTES.lastIndex = at
    at += BETWEEN_ATTRIBUTES.exec(html)?.[0].length ?? 0
    if (html[at] === '>') return { attributes, end: at + 1 }
    ATTRIBUTE.lastIndex = at
    const [all, name = '', double, doubleEnd, single, singleEnd, bare] = ATTRIBUTE.exec(html) ?? []
    if (all === undefined || doubleEnd === '' || singleEnd === '') return { attributes }
    const key = name.toLowerCase()
    // Of an attribute given twice, the first counts.
    if (!attributes.has(key)) attributes.set(key, unescapeHtml(double ?? single ?? bare ?? ''))
    at += all.length
  }
}

/** Where the end tag of an element starts, if there is one. */
function contentEnd(html: string, name: string, from: number): number | undefined {
  const end = new RegExp(`</${name}[\\s/>]`, 'gi')
  end.lastIndex = from
  return end.exec(html)?.index
}

function unescapeHtml(text: string): string {
  return text.replace(/&(?:#(\d{1,7});?|#x([0-9a-f]{1,6});?|([a-z]+)(?:;|(?![=\w])))/gi, (all, decimal, hex, name) => {
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
