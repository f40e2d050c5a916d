// Reads the project's TypeScript for the house rule: what a file imports and exports, and its functions.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

interface Import {
  /** The file that is imported, from the project's root. */
  file: string
  /** `*` stands for all of it. */
  names: string[]
}

interface FoundFunction {
  /** `callback` for one without. */
  name: string
  /** Where it begins, from 1. */
  line: number
  lines: number
  parameters: number
}

const PROJECT = fileURLToPath(new URL('../..', import.meta.url))

/** The TypeScript files in these folders and below them, from the project's root. */
export function sourceFiles(...folders: string[]): string[] {
  return folders.flatMap((folder) =>
    readdirSync(join(PROJECT, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => join(folder, name)),
  )
}

export function textOf(file: string): string {
  return readFileSync(join(PROJECT, file), 'utf8')
}

/** What a file imports from the project's own files. */
export function importsOf(file: string): Import[] {
  const found = textOf(file).matchAll(
    /(?:import|export)\s+(?:type\s+)?(?:(\{[^}]*\}|[\w* ]+)\s+from\s+)?'(\.[^']+)'|import\('(\.[^']+)'\)/g,
  )
  return [...found].map(([, what = '*', path, lazy]) => ({
    file: relative(PROJECT, join(PROJECT, dirname(file), path ?? lazy ?? '')),
    names: what.startsWith('{')
      ? [...what.matchAll(/(?:type )?(\w+)(?: as \w+)?/g)].map(([, name = '']) => name)
      : ['*'],
  }))
}

/** The names that a file exports. */
export function exportsOf(file: string): string[] {
  const found = textOf(file).matchAll(/^export (?:async )?(?:function\*?|const|let|class|interface|type) (\w+)/gm)
  return [...found].map(([, name = '']) => name)
}

/** What somebody can read of a source: its strings. */
export function messagesOf(file: string): string {
  const code = textOf(file).replace(/^\s*(\/\/|\/?\*).*$/gm, '')
  return [...code.matchAll(/'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`/g)]
    .map(([text]) => text)
    .join('\n')
}

/** The code alone: comments, texts, and regular expressions are blank, and every line keeps its place. */
export function codeOnly(text: string): string {
  const parts = [
    /\/\/[^\n]*|\/\*[\s\S]*?\*\//,
    /'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"/,
    // A text with expressions in it, which may hold such a text themselves.
    /`(?:\\[\s\S]|\$\{(?:[^{}`']|'[^']*'|`[^`]*`|\{[^{}]*\})*\}|[^`\\])*`/,
    /(?<=[(,=:[!&|?{};>]\s*|return )\/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\/[a-z]*/,
  ]
  return text.replace(new RegExp(parts.map(({ source }) => source).join('|'), 'g'), (part) =>
    part.replace(/[^\n]/g, ' '),
  )
}

/** All functions of a text that have a body in braces, those inside others too. */
export function functionsOf(text: string): FoundFunction[] {
  const code = codeOnly(text)
  const lineAt = (index: number): number => code.slice(0, index).split('\n').length
  const found = (name: string, begin: number, open: number, parameters: string): FoundFunction => ({
    name,
    line: lineAt(begin),
    lines: lineAt(closing(code, open)) - lineAt(begin) + 1,
    parameters: countParameters(parameters),
  })
  const declared = [...code.matchAll(/\bfunction\*? (\w+)/g)].map(({ index, 1: name = '' }) => {
    const open = code.indexOf('(', index)
    const close = closing(code, open)
    return found(name, index, bodyAfter(code, close + 1), code.slice(open + 1, close))
  })
  const arrows = [...code.matchAll(/\(([^()]*(?:\([^()]*\)[^()]*)*)\)(?:: [^;={}()]+)? => \{/g)].map((match) => {
    const before = code.slice(code.lastIndexOf('\n', match.index) + 1, match.index)
    const name = /(\w+)(?::[^=]*)? = (?:async )?$|(\w+): (?:async )?$/.exec(before)
    return found(name?.[1] ?? name?.[2] ?? 'callback', match.index, match.index + match[0].length - 1, match[1] ?? '')
  })
  return [...declared, ...arrows]
}

/** Where the bracket is that closes the one at `open`. */
function closing(code: string, open: number): number {
  let depth = 0
  for (let i = open; i < code.length; i++) {
    if ('([{'.includes(code[i] ?? '')) depth++
    if (')]}'.includes(code[i] ?? '') && --depth === 0) return i
  }
  return code.length
}

/** Where a declaration's body begins, after its parameters: what comes before it is a type, perhaps in braces. */
function bodyAfter(code: string, from: number): number {
  const open = code.indexOf('{', from)
  const isType = /[:|&<,]\s*$/.test(code.slice(from, open))
  return isType ? bodyAfter(code, closing(code, open) + 1) : open
}

/** @param code what is between a function's parentheses */
function countParameters(code: string): number {
  let depth = 0
  let flat = ''
  for (const sign of code.replaceAll('=>', '  ')) {
    if (')]}>'.includes(sign)) depth--
    if (depth === 0) flat += sign
    if ('([{<'.includes(sign)) depth++
  }
  return flat.split(',').filter((parameter) => parameter.trim() !== '').length
}
