// `npm test`: runs the test files, several at once, and fails unless every test in every one of them ran and passed.
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { compile, compiledPath } from './compile.ts'
import { SIGNALS } from './ending.ts'
import { LOADER } from './loader.ts'
import { ensurePackages } from './packages.ts'
import { compiledFolder, makeRunFolder } from './run-folder.ts'

// Each test file is a process of its own: uvu runs all files in one, where they share the environment, and takes a
// suite whose `before` hook throws, or whose `.run()` was forgotten, for a success (uvu 0.5.6).

interface Result {
  passed: number
  failed: number
  skipped: number
  /** What is wrong beside failed tests. */
  problem?: string
  output: string
}

const FOLDER = fileURLToPath(new URL('..', import.meta.url))

/**
 * How many files run at once. More than there are processors: a script that waits for SSH, for a lock or for a site's
 * next attempt leaves its processor idle.
 */
const AT_ONCE = availableParallelism() * 2

/** Suites that a file makes but never runs. */
export function forgottenSuites(source: string): string[] {
  return [...source.matchAll(/(?:const|let)\s+(\w+)\s*=\s*suite\b/g)]
    .map(([, name = '']) => name)
    .filter((name) => !new RegExp(`\\b${name}\\.run\\(\\)`).test(source))
}

/** uvu's closing lines; undefined when it printed none. */
export function parseTotals(output: string): { total: number; passed: number; skipped: number } | undefined {
  const plain = output.replace(/\u001b\[\d+m/g, '')
  const [total, passed, skipped] = ['Total', 'Passed', 'Skipped'].map(
    (name) => new RegExp(`^ {2}${name}: +(\\d+)$`, 'm').exec(plain)?.[1],
  )
  if (total === undefined || passed === undefined) return
  return { total: Number(total), passed: Number(passed), skipped: Number(skipped ?? 0) }
}

interface TestFile {
  /** From the folder of the tests. */
  name: string
  text: string
}

/** It waits for a minute while others compute. */
const WAITS_FOR_LONG = 'scripts/deploy-broken-site.test.ts'

/**
 * The order in which files are begun: what takes long comes first, so that no single one is left at the end. Those that
 * start servers take longest, and among them those with more in them; a unit test takes next to nothing.
 */
export function longestFirst(files: readonly TestFile[]): string[] {
  const weight = ({ name, text }: TestFile): number =>
    name === WAITS_FOR_LONG
      ? Number.POSITIVE_INFINITY
      : text.length * (/support\/(sandbox|server)\.ts|demo\.ts/.test(text) ? 100 : 1)
  return [...files].sort((a, b) => weight(b) - weight(a)).map(({ name }) => name)
}

/**
 * Runs one file to its end.
 * @param words what Node is given to start it
 */
export function runFile(path: string, words = ['--import', LOADER, path]): Promise<Result> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, words, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, FORCE_COLOR: process.stdout.isTTY ? '1' : '0' },
    })
    const passOn = (signal: NodeJS.Signals): void => void child.kill(signal)
    for (const [signal] of SIGNALS) process.on(signal, passOn)
    let output = ''
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text
      })
    child.on('close', (code, signal) => {
      for (const [name] of SIGNALS) process.off(name, passOn)
      resolve(judge(path, output, signal ?? `exit ${code}`))
    })
  })
}

/** What a file's output says about it, when it ended like this: `exit 0`, `exit 1`, `SIGKILL` … */
function judge(path: string, output: string, end: string): Result {
  const totals = parseTotals(output)
  const { total = 0, passed = 0, skipped = 0 } = totals ?? {}
  const result = { passed, failed: total - passed, skipped, output }
  const forgotten = forgottenSuites(readFileSync(path, 'utf8'))
  const broken = (problem: string): Result => ({ ...result, failed: result.failed + 1, problem })
  if (!totals) return broken(`it ended before uvu did (${end})`)
  if (total + skipped === 0) return broken('it was loaded but ran no test')
  if (forgotten.length > 0) return broken(`it never runs ${forgotten.join(', ')}`)
  if (end !== 'exit 0' && total === passed) return broken(`it ended with ${end}`)
  return result
}

function testFiles(wanted: readonly string[]): string[] {
  const names = readdirSync(FOLDER, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.test.ts'))
    .filter((name) => wanted.length === 0 || wanted.some((word) => name.includes(word)))
  return longestFirst(names.map((name) => ({ name, text: readFileSync(join(FOLDER, name), 'utf8') })))
}

function report(file: string, { passed, failed, skipped, problem, output }: Result, seconds: number): void {
  const counts = `${passed} passed${failed ? `, ${failed} failed` : ''}${skipped ? `, ${skipped} skipped` : ''}`
  console.log(`${failed ? 'FAIL' : 'ok  '}  ${file}  ${counts}  ${seconds.toFixed(1)} s`)
  // Why tests were skipped, where a file says so.
  for (const line of skipped ? (output.match(/^Skipped: .+$/gm) ?? []) : []) console.log(`      ${line}`)
  if (failed) console.log(`${output}${problem ? `\n  ${file}: ${problem}\n` : ''}`)
}

/** @returns the folder */
async function compileAll(tests: readonly string[]): Promise<string> {
  const folder = compiledFolder() ?? ''
  const scripts = readdirSync(join(FOLDER, '../scripts')).filter((name) => name.endsWith('.ts'))
  const files = [...tests, ...scripts.map((name) => `../scripts/${name}`)].map((name) => join(FOLDER, name))
  await compile(files, folder)
  return folder
}

/** @returns the exit status */
async function main(words: readonly string[]): Promise<number> {
  ensurePackages()
  const waiting = testFiles(words)
  const results: Result[] = []
  let interrupted = 0
  // Each file that runs hears of it as well, and clears up; no other one is begun.
  for (const [signal, status] of SIGNALS)
    process.on(signal, () => {
      interrupted = status
      waiting.length = 0
    })
  makeRunFolder()
  const compiled = await compileAll(waiting)
  const work = async (): Promise<void> => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
      const startedMs = Date.now()
      const path = join(FOLDER, file)
      const result = await runFile(path, ['--enable-source-maps', compiledPath(compiled, path)])
      results.push(result)
      report(file, result, (Date.now() - startedMs) / 1000)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
  const sum = (key: 'passed' | 'failed' | 'skipped'): number =>
    results.reduce((total, result) => total + result[key], 0)
  if (sum('passed') + sum('failed') === 0) console.log('No test ran.')
  console.log(`${sum('passed')} passed, ${sum('failed')} failed${sum('skipped') ? `, ${sum('skipped')} skipped` : ''}`)
  return interrupted || (sum('failed') > 0 || sum('passed') === 0 ? 1 : 0)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = await main(process.argv.slice(2))
