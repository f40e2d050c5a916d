// The Python packages in which two commits differ: a package's new version can bring migrations of its own, in no file of the app's.

import { aText, atBest, mapOf, record, tryJson } from '../core/outside.ts'
import { type Checkout, changedFiles, fileOf } from './checkout.ts'

const LISTS = /(^|\/)(requirements[^/]*\.(txt|in)|requirements\/[^/]+\.(txt|in)|constraints[^/]*\.txt|pyproject\.toml)$/
const LOCKS = /(^|\/)((uv|poetry|pdm)\.lock|pylock(\.[^/]+)?\.toml|Pipfile\.lock)$/

/** Pure: the packages of a file by their names, each with its version as the file writes it. */
export function parsePackages(path: string, text: string): Map<string, string> {
  if (path.endsWith('Pipfile.lock')) return parsePipfile(text)
  const pairs = LOCKS.test(path) ? lockedPackages(text) : requirements(text, path.endsWith('.toml'))
  return new Map(pairs.map(([name, version]) => [name.toLowerCase().replace(/[-_.]+/g, '-'), version]))
}

function parsePipfile(text: string): Map<string, string> {
  const packages = tryJson(text, PIPFILE)?.default ?? {}
  return new Map(
    Object.entries(packages).map(([name, locked]) => [name, (locked?.version ?? locked?.ref ?? '').replace(/^==/, '')]),
  )
}

const PIPFILE = record({ default: mapOf(atBest(record({ version: atBest(aText), ref: atBest(aText) }))) })

/** `[[package]]`, or `[[packages]]` of a pylock.toml, with `name` and `version`. */
function lockedPackages(text: string): [name: string, version: string][] {
  return text
    .split(/^\[\[packages?\]\][ \t]*$/m)
    .slice(1)
    .map((block) => {
      const value = (key: string): string => new RegExp(`^${key} *= *"([^"]*)"`, 'm').exec(block)?.[1] ?? ''
      return [value('name'), value('version')]
    })
}

/** Lines as pip takes them; in a pyproject.toml they are strings, or Poetry's `name = "version"`. */
function requirements(text: string, isToml: boolean): [name: string, version: string][] {
  const section = isToml ? /^ *(?:\[tool\.poetry\.[\w.-]*dependencies\])([^[]*)/gm : undefined
  const poetry = section ? [...text.matchAll(section)].flatMap(([, body = '']) => body.split('\n')) : []
  const strings = isToml
    ? [...text.matchAll(/^ *["']([^"'\n]+)["'],? *$/gm)].map(([, line = '']) => line)
    : text.split('\n')
  return [
    ...poetry.flatMap((line): [string, string][] => {
      const [, name, version = ''] = /^ *([A-Za-z0-9][\w.-]*) *= *(.*\S) *$/.exec(line) ?? []
      return name === undefined ? [] : [[name, version.replace(/^"(.*)"$/, '$1')]]
    }),
    ...strings.flatMap((line): [string, string][] => {
      // A comment, a marker, hashes, and a line that goes on.
      const [plain = ''] = line.trim().split(/^#| #|;| --hash|\\/)
      const [, name, version = ''] =
        /^([A-Za-z0-9][\w.-]*)(?: *\[[^\]]*\])? *((?:[=<>!~@].*)?)$/.exec(plain.trim()) ?? []
      return name === undefined ? [] : [[name, version.replace(/^== */, '')]]
    }),
  ]
}

/** The packages in which `to` differs from `from`, in words: `django-allauth 0.57.0 → 65.0.0 (requirements.txt)`. */
export async function changedPackages(checkout: Checkout, from: string, to: string): Promise<string[]> {
  const paths = (await changedFiles(checkout, from, to)).map(([, path]) => path)
  const changes: string[] = []
  for (const path of paths.filter((path) => LISTS.test(path) || LOCKS.test(path))) {
    const [before, after] = await Promise.all(
      [from, to].map(async (sha) => parsePackages(path, (await fileOf(checkout, sha, path)) ?? '')),
    )
    changes.push(...comparePackages(before ?? new Map(), after ?? new Map()).map((change) => `${change} (${path})`))
  }
  return changes
}

function comparePackages(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): string[] {
  return [...new Set([...before.keys(), ...after.keys()])].sort().flatMap((name) => {
    const [old, now] = [before.get(name), after.get(name)]
    if (old === now) return []
    if (old === undefined) return [`${name} ${now} (new)`.replace('  ', ' ')]
    return [`${name} ${old || 'any'} → ${now === undefined ? 'removed' : now || 'any'}`]
  })
}
