// What holds for README.md and every page of docs/, whatever they say.
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { SETTINGS } from '../../lib/cli/settings.ts'
import { blocksOf, PAGES, proseOf, readPage } from '../support/docs.ts'
import { LOADER } from '../support/loader.ts'

/** Where a command is typed: each shell block says one of these above it, in bold. */
const PLACES = [
  'On the laptop:',
  "On the laptop, in the app's checkout:",
  'On the laptop, in the ops checkout:',
  'On the server, as deploy:',
  'On the server, as root:',
  'On the new server, as deploy:',
  'On the new server, as root:',
  'On another machine:',
  'On the machine of the repository, as root:',
  'On the machine of the repository, as borg:',
  'On any machine:',
]
const LANGUAGES = ['sh', 'text', 'yaml', 'json', 'mermaid']
const COMMANDS = ['backup', 'restore', 'deploy', 'rollback', 'verify']
const MOST_LINES_OF_README = 130

const PROJECT = fileURLToPath(new URL('../..', import.meta.url))
const test = suite('the pages')

function helpOf(command: string): string {
  const script = join(PROJECT, 'scripts', `${command}.ts`)
  return execFileSync(process.execPath, ['--import', LOADER, '--', script, '--help']).toString()
}

function flagsIn(text: string): string[] {
  return [...new Set(text.match(/(?<=^|[\s[|`(])--[a-z][a-z-]*/gm) ?? [])]
}

/** The anchor that GitHub gives a heading. */
function slug(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .trim()
    .replace(/\s/g, '-')
}

function anchorsOf(page: string): string[] {
  return [...proseOf(page).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => slug(heading))
}

/** Command lines of these scripts in a page, in blocks and in the text, each from the command's name on. */
function commandLinesOf(page: string): string[] {
  const inBlocks = blocksOf(page)
    .filter(({ language }) => language === 'sh')
    .flatMap(({ text }) => text.split('\n').map((line) => line.replace(/(^|\s)# .*$/, '')))
  const inText = [...proseOf(page).matchAll(/`([^`\n]+)`/g)].map(([, code = '']) => code)
  return [...inBlocks, ...inText]
    .map((line) => line.trim().replace(/^~\//, ''))
    .filter((line) => COMMANDS.includes(line.split(' ')[0] ?? ''))
}

test('README is short, and leads to every page', () => {
  const readme = readPage('README.md')
  assert.ok(readme.split('\n').length <= MOST_LINES_OF_README, `${readme.split('\n').length} lines`)
  const unlinked = PAGES.filter((page) => page !== 'README.md' && !readme.includes(`(${page})`))
  assert.equal(unlinked, [])
})

test('the page for the person on call has a row of its own for each way out, and README the same for the most urgent', () => {
  const typed = (page: string): string[] =>
    [...readPage(page).matchAll(/^\| [^|]* \| ([^|]+) \| (?:server|laptop)? ?\|/gm)].map(([, type = '']) => type)
  const [onCall, readme] = [typed('docs/on-call.md'), typed('README.md')]
  const urgent = ['~/restore --rows', '~/restore --undo`', '~/restore --drill', '~/backup --accept', '~/backup --check']
  const lacking = (rows: readonly string[], all: readonly string[]): string[] =>
    all.filter((command) => !rows.some((type) => type.includes(command)))
  assert.equal(lacking(readme, urgent), [])
  assert.equal(lacking(onCall, [...urgent, '~/restore --undo --dry-run']), [])
  assert.is(onCall.filter((type) => type.includes('--undo')).length, 2)
})

test('each shell block says above it where it is typed', () => {
  const wrong = PAGES.flatMap(blocksOf)
    .filter(({ language, above }) => !LANGUAGES.includes(language) || (language === 'sh' && !PLACES.includes(above)))
    .map(({ page, line, language, above }) => `${page}:${line} \`${language}\` below "${above}"`)
  assert.equal(wrong, [])
})

test('each shell block can be read by a shell', () => {
  for (const { page, line, text } of PAGES.flatMap(blocksOf).filter(({ language }) => language === 'sh')) {
    const { status, stderr } = spawnSync('bash', ['-n'], { input: `${text}\n` })
    assert.is(status, 0, `${page}:${line}: ${stderr}`)
  }
})

test('links and anchors lead somewhere', () => {
  const broken = PAGES.flatMap((page) =>
    [...proseOf(page).matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, link = '']) => {
      if (/^https?:/.test(link)) return []
      const [path = '', anchor] = link.split('#')
      const target = path === '' ? page : normalize(join(dirname(page), path))
      const leads = existsSync(join(PROJECT, target)) && (anchor === undefined || anchorsOf(target).includes(anchor))
      return leads ? [] : [`${page}: ${link}`]
    }),
  )
  assert.equal(broken, [])
})

for (const command of COMMANDS)
  test(`${command}: its flags exist, and its page explains each of them`, () => {
    const known = flagsIn(helpOf(command))
    const used = PAGES.flatMap((page) =>
      commandLinesOf(page)
        .filter((line) => line.split(' ')[0] === command)
        .flatMap((line) => flagsIn(line).map((flag) => `${page}: ${flag}`)),
    )
    assert.ok(used.length > 0)
    assert.equal(
      used.filter((use) => !known.includes(use.split(': ')[1] ?? '')),
      [],
    )
    const explained = flagsIn(readPage(`docs/${command}.md`))
    const common = ['--help', '--version', '--env-file']
    assert.equal(
      known.filter((flag) => !common.includes(flag) && !explained.includes(flag)),
      [],
    )
  })

test('what a table quotes under "it says", the program says', () => {
  const sources = readdirSync(join(PROJECT, 'lib'), { recursive: true, encoding: 'utf8' }).filter((name) =>
    /\.ts$/.test(name),
  )
  const said = sources.map((name) => readFileSync(join(PROJECT, 'lib', name), 'utf8')).join('')
  const quoted = PAGES.flatMap((page) =>
    [...readPage(page).matchAll(/^\| it says \|.*\n\|.*\n((?:\|.*\n)+)/gm)].flatMap(([, rows = '']) =>
      rows.split('\n').flatMap((row) => (row.split('|')[1] ?? '').replace('(exit 75)', '').split(/…|\/|:/)),
    ),
  )
  const parts = quoted.map((part) => part.trim()).filter(Boolean)
  assert.ok(parts.length > 20)
  assert.equal(
    parts.filter((part) => !said.includes(part)),
    [],
  )
})

test('the page of settings has every setting with its default', () => {
  const rows = [...readPage('docs/settings.md').matchAll(/^\| `([A-Z_]+)` \| (.*?) \| ([BRDKV ]+) \|/gm)]
  assert.equal(rows.map(([, name]) => name).sort(), Object.keys(SETTINGS).sort())
  const known: Record<string, { default?: string; required?: true; parse: unknown }> = SETTINGS
  for (const [, name = '', shown = ''] of rows) {
    const setting = known[name]
    assert.is(shown.replace(/`/g, ''), setting?.default ?? (setting?.required ? 'required' : 'none'), name)
  }
})

test.run()
