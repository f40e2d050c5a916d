// Reads README.md and docs/: their headings, links and code blocks, for the tests that hold or run them.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const PROJECT = fileURLToPath(new URL('../..', import.meta.url))

/** Every page, from the project's root. */
export const PAGES: readonly string[] = [
  'README.md',
  ...readdirSync(join(PROJECT, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .sort()
    .map((name) => `docs/${name}`),
]

interface Block {
  page: string
  /** Of the opening fence, counted from 1. */
  line: number
  /** What stands behind the opening fence: `sh`, `text`, … */
  language: string
  /** The last heading above it. */
  heading: string
  /** The line above it, without asterisks: on which machine it is typed. */
  above: string
  text: string
}

export function readPage(page: string): string {
  return readFileSync(join(PROJECT, page), 'utf8')
}

/** The code blocks of a page, in their order. */
export function blocksOf(page: string): Block[] {
  const lines = readPage(page).split('\n')
  const blocks: Block[] = []
  let heading = ''
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i] ?? ''
    if (line.startsWith('#')) heading = line.replace(/^#+ /, '')
    const language = /^```(.*)$/.exec(line)?.[1]
    if (language === undefined) continue
    const end = lines.indexOf('```', i + 1)
    if (end === -1) throw new Error(`${page}:${i + 1}: the block does not end.`)
    const above = (lines[i - 1] ?? '').replace(/^\*\*(.*)\*\*$/, '$1')
    blocks.push({ page, line: i + 1, language, heading, above, text: lines.slice(i + 1, end).join('\n') })
    i = end
  }
  return blocks
}

/** The shell commands under a heading, as one script. */
export function commandsUnder(page: string, heading: string): string {
  const blocks = blocksOf(page).filter((block) => block.language === 'sh' && block.heading === heading)
  if (blocks.length === 0) throw new Error(`${page} has no shell block under "${heading}".`)
  return blocks.map(({ text }) => `${text}\n`).join('')
}

/** A page without its code blocks. */
export function proseOf(page: string): string {
  return readPage(page).replace(/^```[\s\S]*?^```$/gm, '')
}
