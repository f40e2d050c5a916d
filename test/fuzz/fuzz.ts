// `npm run fuzz -- [--seed N] [--cases N] [--case N] [--fast]`: generated cases, each made of the seed and its number alone.
import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { LOADER } from '../support/loader.ts'
import { caseOf } from './kinds.ts'

interface Wanted {
  seed: number
  from: number
  to: number
  fast: boolean
}

export interface BadCase {
  number: number
  kind: string
  input: string
  why: string
}

interface Outcome {
  bad: BadCase[]
  /** Numbers of those that took longer than five seconds. */
  slow: number[]
  tookMs: number
}

/** A worker says this before and after each case. */
type Said = { begins: number; kind: string; input: string } | { ended: number; why: string | undefined; tookMs: number }

const HANGS_MS = 30_000
const SLOW_MS = 5000

/** Runs cases in a process of their own: one that hangs is ended there, and the next begins. */
export async function runCases(wanted: Wanted, onBad: (bad: BadCase) => void): Promise<Outcome> {
  const startedMs = performance.now()
  const outcome: Outcome = { bad: [], slow: [], tookMs: 0 }
  const note = (bad: BadCase): void => {
    outcome.bad.push(bad)
    onBad(bad)
  }
  for (let next = wanted.from; next < wanted.to; ) next = await runSome({ ...wanted, from: next }, note, outcome.slow)
  outcome.tookMs = performance.now() - startedMs
  return outcome
}

/** @returns the number of the next case */
async function runSome(wanted: Wanted, note: (bad: BadCase) => void, slow: number[]): Promise<number> {
  const worker = spawn(
    process.execPath,
    ['--import', LOADER, fileURLToPath(import.meta.url), '--worker', JSON.stringify(wanted)],
    {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    },
  )
  let stderr = ''
  worker.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-4000)
  })
  let current: { number: number; kind: string; input: string } | undefined
  let next = wanted.from
  let hangs = false
  const watch = setTimeout(() => {
    hangs = true
    worker.kill('SIGKILL')
  }, HANGS_MS)
  worker.on('message', (said: Said) => {
    watch.refresh()
    if ('begins' in said) current = { number: said.begins, kind: said.kind, input: said.input }
    else {
      next = said.ended + 1
      if (said.tookMs > SLOW_MS) slow.push(said.ended)
      if (said.why !== undefined && current) note({ ...current, why: said.why })
      current = undefined
    }
  })
  await endOf(worker)
  clearTimeout(watch)
  if (next >= wanted.to) return next
  const { number, kind, input } = current ?? { number: next, kind: 'unknown', input: '' }
  note({ number, kind, input, why: hangs ? `did not end within ${HANGS_MS / 1000} s` : `ended the process: ${stderr}` })
  return number + 1
}

function endOf(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => child.on('close', () => resolve()))
}

async function work({ seed, from, to, fast }: Wanted): Promise<void> {
  const say = (said: Said): void => void process.send?.(said)
  for (let number = from; number < to; number++) {
    const { kind, input, run } = caseOf(seed, number, !fast)
    say({ begins: number, kind, input })
    const startedMs = performance.now()
    const why = await run().catch((error: unknown) => `a bug: ${error instanceof Error ? error.stack : String(error)}`)
    say({ ended: number, why, tookMs: performance.now() - startedMs })
  }
  process.disconnect()
}

async function main(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      seed: { type: 'string' },
      cases: { type: 'string' },
      case: { type: 'string' },
      fast: { type: 'boolean' },
      worker: { type: 'string' },
    },
  })
  if (values.worker !== undefined) {
    await work(JSON.parse(values.worker))
    return 0
  }
  const seed = Number(values.seed ?? Math.floor(Math.random() * 1e6))
  const only = values.case === undefined ? undefined : Number(values.case)
  const cases = Number(values.cases ?? 2000)
  const fast = values.fast ?? false
  const range = only === undefined ? { from: 0, to: cases } : { from: only, to: only + 1 }
  if (only !== undefined) console.log(caseOf(seed, only, !fast).input)
  const { bad, slow, tookMs } = await runCases({ seed, fast, ...range }, ({ number, kind, input, why }) =>
    console.log(
      `Case ${number} (${kind}) ${why}\n  ${input}\n  Again: npm run fuzz -- --seed ${seed} --case ${number}${fast ? ' --fast' : ''}\n`,
    ),
  )
  const count = range.to - range.from
  console.log(
    `Seed ${seed}: ${count} cases in ${Math.round(tookMs / 1000)} s, ${bad.length} bad, ${slow.length} took longer than ${SLOW_MS / 1000} s${slow.length > 0 ? `: ${slow.join(', ')}` : ''}.`,
  )
  return bad.length > 0 || slow.length > count / 100 ? 1 : 0
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = await main(process.argv.slice(2))
