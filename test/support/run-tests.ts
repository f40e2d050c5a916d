import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ensurePackages } from './packages.ts'

// Each test file is a process of its own: uvu runs all files in one, where they share the environment, and takes a
// suite whose `before` hook throws, or whose `.run()` was forgotten, for a success (uvu 0.5.6).

interface Result {
  file: string
  passed: number
  failed: number
  skipped: number
  /** What is wrong beside failed tests. */
  problem?: string
  output: string
}

const FOLDER = fileURLToPath(new URL('..', import.meta.url))
const AT_ONCE = 2

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

function runFile(file: string): Promise<Result> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ['--import', 'tsx', join(FOLDER, file)], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, FORCE_COLOR: process.stdout.isTTY ? '1' : '0' },
    })
    let output = ''
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text
      })
    child.on('close', (code, signal) => {
      const totals = parseTotals(output)
      const { total = 0, passed = 0, skipped = 0 } = totals ?? {}
      const forgotten = forgottenSuites(readFileSync(join(FOLDER, file), 'utf8'))
      const problem = !totals
        ? `it ended before uvu did (${signal ?? `exit ${code}`})`
        : total + skipped === 0
          ? 'it was loaded but ran no test'
          : forgotten.length > 0
            ? `it never runs ${forgotten.join(', ')}`
            : code !== 0 && total === passed
              ? `it ended with ${signal ?? `exit ${code}`}`
              : undefined
      resolve({
        file,
        passed,
        failed: total - passed + (problem ? 1 : 0),
        skipped,
        output,
        ...(problem ? { problem } : {}),
      })
    })
  })
}

async function main(): Promise<void> {
  ensurePackages()
  const wanted = process.argv.slice(2)
  const files = readdirSync(FOLDER, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.test.ts'))
    .filter((name) => wanted.length === 0 || wanted.some((word) => name.includes(word)))
  const waiting = [...files]
  const results: Result[] = []
  const work = async (): Promise<void> => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
      const started = Date.now()
      const result = await runFile(file)
      results.push(result)
      const { passed, failed, skipped, problem, output } = result
      const counts = `${passed} passed${failed ? `, ${failed} failed` : ''}${skipped ? `, ${skipped} skipped` : ''}`
      console.log(`${failed ? 'FAIL' : 'ok  '}  ${file}  ${counts}  ${((Date.now() - started) / 1000).toFixed(1)} s`)
      // Why tests were skipped, where a file says so.
      for (const line of skipped ? (output.match(/^Skipped: .+$/gm) ?? []) : []) console.log(`      ${line}`)
      if (failed) console.log(`${output}${problem ? `\n  ${file}: ${problem}\n` : ''}`)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
  const sum = (key: 'passed' | 'failed' | 'skipped'): number =>
    results.reduce((total, result) => total + result[key], 0)
  if (sum('passed') + sum('failed') === 0) console.log('No test ran.')
  console.log(`${sum('passed')} passed, ${sum('failed')} failed${sum('skipped') ? `, ${sum('skipped')} skipped` : ''}`)
  process.exitCode = sum('failed') > 0 || sum('passed') === 0 ? 1 : 0
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main()
