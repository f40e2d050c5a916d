// The house rule: scripts → commands → tools → cli → core. It is held here by reading the sources; to change it, change the tables.
import { dirname } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { codeOnly, exportsOf, functionsOf, importsOf, sourceFiles, textOf } from './support/source-code.ts'

/** From the top floor to the ground; what stands on one line is one floor. A file imports from its own floor or below. */
const FLOORS: readonly (readonly string[])[] = [
  ['scripts'],
  ['lib/backup', 'lib/restore', 'lib/restore/kit', 'lib/restore/rows', 'lib/rollback', 'lib/deploy', 'lib/verify'],
  ['lib/server', 'lib/media', 'lib/postgres', 'lib/borg', 'lib/git', 'lib/dokku'],
  ['lib/cli'],
  ['lib/core'],
]
const COMMANDS = 1
/** Commands know of each other only this. */
const BETWEEN_COMMANDS = [
  'lib/restore/kit → lib/restore',
  'lib/restore/rows → lib/restore',
  'lib/rollback → lib/deploy',
  'lib/rollback → lib/verify',
  'lib/deploy → lib/verify',
]

/** What only some files may do: the code that does it, and those files. */
const RESERVED: readonly [what: string, code: RegExp, allowed: RegExp][] = [
  ['processes are started', /\b(spawn|spawnSync|execFile|execFileSync|execSync|fork)\(/, /^lib\/core\/shell\.ts$/],
  ['arguments and environment are read', /\bprocess\.(argv|env|exit|exitCode)\b/, /^(scripts|lib\/cli)\//],
  ['JSON is read', /\bJSON\.parse\(|\.json\(\)/, /^lib\/core\/(outside|version)\.ts$/],
  [
    'a duration is measured by a clock that somebody may set',
    /Date\.now\(\) - (\w+\.)*(started|began|begun)\w*/i,
    /^$/,
  ],
  ['the user is looked up', /\b(userInfo|homedir)\(/, /^lib\/cli\/user\.ts$/],
  ['the terminal is used', /\bprocess\.(stdin|stdout|stderr)\b|\bconsole\./, /^(scripts|lib\/cli)\//],
]

/** About a screen. */
const LONGEST_FUNCTION = 60
const MOST_PARAMETERS = 4

const test = suite('the house')
const SOURCES = ['scripts', 'lib']
const TEST_SUPPORT = ['test/support', 'test/bench', 'test/demo']

function floorOf(folder: string): number {
  return FLOORS.findIndex((floor) => floor.includes(folder))
}

function breaksTheRule(here: string, there: string): boolean {
  const isUpward = floorOf(there) < floorOf(here)
  const isAcross = here !== there && floorOf(here) === COMMANDS && floorOf(there) === COMMANDS
  return isUpward || (isAcross && !BETWEEN_COMMANDS.includes(`${here} → ${there}`))
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

test('no import runs upward, and commands know each other only as rollback → deploy → verify', () => {
  const wrong = sourceFiles(...SOURCES).flatMap((file) =>
    importsOf(file)
      .filter(({ file: imported }) => breaksTheRule(dirname(file), dirname(imported)))
      .map(({ file: imported }) => `${file} → ${imported}`),
  )
  assert.equal(wrong, [])
})

test('each folder stands on a floor, and no program lies in lib/ itself', () => {
  const folders = new Set(sourceFiles(...SOURCES).map((file) => dirname(file)))
  assert.equal(
    [...folders].filter((folder) => floorOf(folder) === -1),
    [],
  )
})

test('no files import each other in a circle', () => {
  const files = sourceFiles(...SOURCES, 'test')
  const imports = new Map(files.map((file) => [file, importsOf(file).map(({ file }) => file)]))
  assert.equal(
    files.flatMap((file) => circleFrom(file, imports)?.join(' → ') ?? []),
    [],
  )
})

for (const [what, code, allowed] of RESERVED)
  test(`${what} only in ${allowed.source.replace(/[\\^$]/g, '')}`, () => {
    const wrong = sourceFiles(...SOURCES).filter((file) => !allowed.test(file) && code.test(codeOnly(textOf(file))))
    assert.equal(wrong, [])
  })

test('nothing in lib/ happens on import: at its top level a file only declares', () => {
  const wrong = sourceFiles('lib').flatMap((file) =>
    codeOnly(textOf(file))
      .split('\n')
      .flatMap((line, index) =>
        /^(?!import|export|(async )?function|const|let|class|interface|type|[\])}])\S/.test(line)
          ? [`${file}:${index + 1}`]
          : [],
      ),
  )
  assert.equal(wrong, [])
})

test('nothing is exported that no other file imports', () => {
  const wanted = new Set(
    sourceFiles(...SOURCES, 'test').flatMap((file) =>
      importsOf(file).flatMap(({ file: from, names }) => names.map((name) => `${from} ${name}`)),
    ),
  )
  const unused = sourceFiles('lib', ...TEST_SUPPORT).flatMap((file) =>
    exportsOf(file)
      .map((name) => `${file} ${name}`)
      .filter((name) => !wanted.has(name) && !wanted.has(`${file} *`)),
  )
  assert.equal(unused, [])
})

test('top-level functions are declared as functions', () => {
  const constants = sourceFiles(...SOURCES, 'test').flatMap((file) =>
    [...textOf(file).matchAll(/^(?:export )?const (\w+)[^=\n]*= (?:async )?(?:<[^=\n]*>)?\([^\n]*=>/gm)].map(
      ([, name]) => `${file} ${name}`,
    ),
  )
  assert.equal(constants, [])
})

test('a function fits on a screen, and takes four positional arguments at most', () => {
  const wrong = sourceFiles(...SOURCES, 'test').flatMap((file) =>
    functionsOf(textOf(file))
      .filter(({ lines, parameters }) => lines > LONGEST_FUNCTION || parameters > MOST_PARAMETERS)
      .map(({ name, line, lines, parameters }) => `${file}:${line} ${name}: ${lines} lines, ${parameters} parameters`),
  )
  assert.equal(wrong, [])
})

test("a file's first line says what the file is for", () => {
  const silent = sourceFiles(...SOURCES, ...TEST_SUPPORT).filter(
    (file) => !file.endsWith('.test.ts') && !/^(#!.*\n)?\/\/ \S/.test(textOf(file)),
  )
  assert.equal(silent, [])
})

test.run()
