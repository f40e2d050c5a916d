import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'

// The house rule: scripts → commands → tools → cli → core. This reads every import of scripts/ and lib/ and holds it.

/** From the top floor to the ground; what stands on one line is one floor. A file imports from its own floor or below. */
const FLOORS: readonly (readonly string[])[] = [
  ['scripts'],
  ['lib/backup', 'lib/restore', 'lib/rollback', 'lib/deploy', 'lib/verify'],
  ['lib/server', 'lib/media', 'lib/postgres', 'lib/borg', 'lib/git', 'lib/dokku'],
  ['lib/cli'],
  ['lib/core'],
]
/** Commands know of each other only this. */
const BETWEEN_COMMANDS = ['lib/rollback → lib/deploy', 'lib/rollback → lib/verify', 'lib/deploy → lib/verify']
/** About a screen. */
const LONGEST_FUNCTION = 60
const MOST_ARGUMENTS = 4

const PROJECT = fileURLToPath(new URL('..', import.meta.url))
const test = suite('the house')

function sourcesIn(...folders: string[]): string[] {
  return folders.flatMap((folder) =>
    readdirSync(join(PROJECT, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => join(folder, name)),
  )
}

function textOf(file: string): string {
  return readFileSync(join(PROJECT, file), 'utf8')
}

interface Import {
  /** The file that is imported, from the project's root. */
  file: string
  names: string[]
}

/** What a file imports from the project's own files. */
function importsOf(file: string): Import[] {
  const found = textOf(file).matchAll(
    /(?:import|export)\s+(?:type\s+)?(\{[^}]*\}|[\w* ]+)\s+from '(\.[^']+)'|import\('(\.[^']+)'\)/g,
  )
  return [...found].map(([, what = '*', path, lazy]) => ({
    file: relative(PROJECT, join(PROJECT, dirname(file), path ?? lazy ?? '')),
    names: what.startsWith('{')
      ? what
          .replace(/[{}\s]/g, ' ')
          .split(',')
          .map((name) =>
            name
              .trim()
              .replace(/^type /, '')
              .replace(/ as .*$/, ''),
          )
          .filter(Boolean)
      : ['*'],
  }))
}

function floorOf(folder: string): number {
  return FLOORS.findIndex((floor) => floor.includes(folder))
}

/** The arrows that break the rule, each as a line. */
function wrongArrows(): string[] {
  return sourcesIn('scripts', 'lib').flatMap((file) => {
    const here = dirname(file)
    return importsOf(file).flatMap(({ file: imported }) => {
      const there = dirname(imported)
      const isUpward = floorOf(there) < floorOf(here)
      const isAcross = here !== there && floorOf(here) === 1 && floorOf(there) === 1
      const isAllowed = BETWEEN_COMMANDS.includes(`${here} → ${there}`)
      return isUpward || (isAcross && !isAllowed) ? [`${file} → ${imported}`] : []
    })
  })
}

/** A circle that begins and ends at a file, if it is on one. */
function circleFrom(start: string, imports: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const ways: string[][] = [[start]]
  const seen = new Set<string>()
  for (let way = ways.shift(); way; way = ways.shift())
    for (const next of imports.get(way.at(-1) ?? '') ?? []) {
      if (next === start) return [...way, next]
      if (!seen.has(next)) ways.push([...way, next])
      seen.add(next)
    }
  return undefined
}

interface TopLevelFunction {
  name: string
  lines: number
  signature: string
}

/** The functions declared at a file's top level; the formatter ends each with a brace at the line's beginning. */
function functionsOf(file: string): TopLevelFunction[] {
  const lines = textOf(file).split('\n')
  return lines.flatMap((line, start) => {
    const name = /^(?:export )?(?:async )?function\*? (\w+)/.exec(line)?.[1]
    if (name === undefined) return []
    const length = lines.slice(start).findIndex((other) => other.startsWith('}') && !/^\}[):,]/.test(other)) + 1
    const signature =
      lines
        .slice(start, start + length)
        .join('\n')
        .split(/\{\n/)[0] ?? ''
    return [{ name, lines: length, signature }]
  })
}

/** Positional parameters of a declaration. */
function countParameters(signature: string): number {
  const inside = signature.slice(signature.indexOf('(') + 1)
  let depth = 0
  let count = 0
  let empty = true
  for (const sign of inside.replace(/=>/g, '  ')) {
    if (depth === 0 && sign === ')') break
    if ('([{<'.includes(sign)) depth++
    if (')]}>'.includes(sign)) depth--
    if (depth === 0 && sign === ',') {
      count++
      empty = true
    } else if (sign.trim() !== '') empty = false
  }
  return count + (empty ? 0 : 1)
}

test('no import runs upward, and commands know each other only as rollback → deploy → verify', () => {
  assert.equal(wrongArrows(), [])
})

test('each folder stands on a floor, and no program lies in lib/ itself', () => {
  const folders = new Set(sourcesIn('scripts', 'lib').map((file) => dirname(file)))
  assert.equal(
    [...folders].filter((folder) => floorOf(folder) === -1),
    [],
  )
})

test('no files import each other in a circle', () => {
  const imports = new Map(sourcesIn('scripts', 'lib').map((file) => [file, importsOf(file).map(({ file }) => file)]))
  const circles = [...imports.keys()].flatMap((file) => circleFrom(file, imports)?.join(' → ') ?? [])
  assert.equal(circles, [])
})

test('nothing is exported that no other file imports', () => {
  const wanted = new Set(
    sourcesIn('scripts', 'lib', 'test').flatMap((file) =>
      importsOf(file).flatMap(({ file: from, names }) => names.map((name) => `${from} ${name}`)),
    ),
  )
  const unused = sourcesIn('lib', 'test/support').flatMap((file) =>
    [...textOf(file).matchAll(/^export (?:async )?(?:function\*?|const|class|interface|type) (\w+)/gm)]
      .map(([, name = '']) => `${file} ${name}`)
      .filter((name) => !wanted.has(name) && !wanted.has(`${file} *`)),
  )
  assert.equal(unused, [])
})

test('top-level functions are declared as functions', () => {
  const constants = sourcesIn('scripts', 'lib', 'test').flatMap((file) =>
    [...textOf(file).matchAll(/^(?:export )?const (\w+) = (?:async )?(?:<[^=\n]*>)?\([^\n]*=>/gm)].map(
      ([, name]) => `${file} ${name}`,
    ),
  )
  assert.equal(constants, [])
})

test('a function fits on a screen', () => {
  const long = sourcesIn('scripts', 'lib', 'test').flatMap((file) =>
    functionsOf(file)
      .filter(({ lines }) => lines > LONGEST_FUNCTION)
      .map(({ name, lines }) => `${file} ${name}: ${lines} lines`),
  )
  assert.equal(long, [])
})

test('a function takes four positional arguments at most', () => {
  const many = sourcesIn('scripts', 'lib').flatMap((file) =>
    functionsOf(file)
      .filter(({ signature }) => countParameters(signature) > MOST_ARGUMENTS)
      .map(({ name, signature }) => `${file} ${name}: ${countParameters(signature)}`),
  )
  assert.equal(many, [])
})

test.run()
