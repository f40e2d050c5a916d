// Reads CSS as far as the checks need it: does it style anything, and does it end where it should?

interface CssContent {
  /** It sets at least one property. */
  hasDeclaration: boolean
  /** The addresses of its `@import` rules, as written. */
  imports: string[]
  /** What is still open at its end. */
  open?: 'comment' | 'string' | 'address' | 'rule'
}

const PLAIN = /[^\\"'/(){}[\]:@uU]+/y
const COMMENT = /\/\*[\s\S]*?\*\//y
// An escape may stand for any character, and for a line break, which would end a string (CSS Syntax, section 4.3.5).
const STRING = /"(?:[^"\\\n\r\f]+|\\(?:\r\n|[\s\S]))*|'(?:[^'\\\n\r\f]+|\\(?:\r\n|[\s\S]))*/y
const ADDRESS = /url\((?!\s*["'])(?:[^)\\]+|\\[\s\S])*/iy
const IMPORT = /@import\s+(?:url\(\s*)?(?:"([^"\n]*)"|'([^'\n]*)'|([^\s"');]+))/iy
const CLOSER: Record<string, string> = { '{': '}', '(': ')', '[': ']' }

/**
 * Follows the blocks, strings and addresses as a browser does: a bracket in a string is none, and one that closes nothing is
 * ignored. Takes time in proportion to the text.
 */
export function readCss(css: string): CssContent {
  const content: CssContent = { hasDeclaration: false, imports: [] }
  const closers: string[] = []
  let lastRuleEnd = 0
  const matches = (pattern: RegExp, at: number): string | undefined => {
    pattern.lastIndex = at
    return pattern.exec(css)?.[0]
  }
  for (let at = 0; at < css.length; ) {
    const char = css[at] as string
    let length = 1
    if (char === '/' && css[at + 1] === '*') {
      const comment = matches(COMMENT, at)
      if (comment === undefined) return { ...content, open: 'comment' }
      length = comment.length
    } else if (char === '"' || char === "'") {
      length = matches(STRING, at)?.length ?? 1
      if (at + length >= css.length) return { ...content, open: 'string' }
      if (css[at + length] === char) length++
    } else if (char === '\\') length = 2
    else if (char === closers.at(-1)) {
      closers.pop()
      if (char === '}' && closers.length === 0) lastRuleEnd = at + 1
    } else if (char in CLOSER) closers.push(CLOSER[char] as string)
    else if (char === ':') content.hasDeclaration ||= closers.includes('}')
    else if (char === '@') {
      IMPORT.lastIndex = at
      const [, double, single, bare] = (closers.length === 0 && IMPORT.exec(css)) || []
      const address = double ?? single ?? bare
      if (address !== undefined) content.imports.push(address)
    } else if ((char === 'u' || char === 'U') && !/[\w-]/.test(css[at - 1] ?? '')) {
      const address = matches(ADDRESS, at)
      if (address !== undefined && at + address.length >= css.length) return { ...content, open: 'address' }
      if (address !== undefined) length = address.length + 1
    } else length = matches(PLAIN, at)?.length ?? 1
    at += length
  }
  return closers.length > 0 || isSelector(css.slice(lastRuleEnd)) ? { ...content, open: 'rule' } : content
}

/** Whether what follows the last rule is the beginning of another one. Statements, such as `@import`, may end with the text. */
function isSelector(rest: string): boolean {
  return !/^(@|-->|[;}\s]*$)/.test(rest.replace(/\/\*[\s\S]*?(\*\/|$)/g, '').trim())
}
