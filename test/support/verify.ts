// Runs verify, as a script or one check of it.
import { spawn } from 'node:child_process'
import type { Test } from 'uvu'
import { siteChecks } from '../../lib/verify/page-checks.ts'
import { Unexpected } from '../../lib/verify/run-check.ts'
import { scriptCommand } from './scripts.ts'
import { type Handler, type Site, startSite } from './site.ts'

interface VerifyRun {
  exitCode: number | null
  stdout: string
  stderr: string
}

interface VerifyOptions {
  env?: Record<string, string>
  /** Sent when the checks run. */
  signal?: NodeJS.Signals
  /** The words that start it. */
  command?: readonly string[]
}

/** Runs the real script, with next to no environment, no env file and no terminal. */
export function verify(
  args: readonly string[],
  { env = {}, signal, command = scriptCommand('verify.ts') }: VerifyOptions = {},
): Promise<VerifyRun> {
  return new Promise((resolve, reject) => {
    const [file = '', ...words] = command
    const child = spawn(file, [...words, ...args], {
      cwd: '/',
      env: { PATH: '/usr/bin:/bin', HOME: '/nonexistent', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const run: VerifyRun = { exitCode: null, stdout: '', stderr: '' }
    for (const name of ['stdout', 'stderr'] as const)
      child[name].setEncoding('utf8').on('data', (text: string) => {
        run[name] += text
      })
    // The first line comes when all checks have been started.
    if (signal) child.stdout.once('data', () => setTimeout(() => child.kill(signal), 700))
    child.on('error', reject)
    child.on('close', (exitCode) => resolve({ ...run, exitCode }))
  })
}

/** How long verifying a healthy site takes in all, and its slowest check, when every answer of the site waits `delayMs`. */
export async function measureHealthy(
  delayMs: number,
): Promise<{ totalMs: number; slowestMs: number; processMs: number }> {
  const site = await startSite({ delayMs })
  try {
    const started = performance.now()
    const { exitCode, stdout, stderr } = await verify(['--url', site.url, '--json'])
    const processMs = performance.now() - started
    if (exitCode !== 0) throw new Error(`not green: ${stdout}${stderr}`)
    const { checks, seconds } = JSON.parse(stdout) as { checks: { seconds: number }[]; seconds: number }
    return { totalMs: seconds * 1000, slowestMs: Math.max(...checks.map((check) => check.seconds)) * 1000, processMs }
  } finally {
    await site.stop()
  }
}

/** One attempt of one check; the text of what it saw, whatever its verdict. */
export async function look(site: Site, name: string, waitMs = 5000): Promise<string> {
  const check = siteChecks(new URL(site.url)).find((one) => one.name === name)
  if (!check) throw new Error(`no check ${name}`)
  try {
    const { verdict, seen } = await check.run(AbortSignal.timeout(waitMs))
    return `${verdict} ${seen}`
  } catch (error) {
    if (!(error instanceof Unexpected)) throw error
    return `fail ${error.message}`
  }
}

/** A site that answers some paths in another way, looked at by one check. */
export function lookAt(site: Site, name: string, routes: Record<string, Handler>): Promise<string> {
  for (const [path, handler] of Object.entries(routes)) site.set(path, handler)
  return look(site, name)
}

/** The check that most of the tests break. */
export const HOME = 'homepage with styles'

/** Answers of the site with which a check fails, and what it then says. */
export type Broken = [promise: string, routes: Record<string, Handler>, seen: RegExp]

/** Answers of the site with which a check passes. */
export type Good = [promise: string, name: string, routes: Record<string, Handler>, seen?: RegExp]

/** A site for a suite: every test of it finds a sound one. */
export async function siteOf(test: Test): Promise<Site> {
  const site = await startSite()
  test.after.each(() => site.reset())
  test.after(() => site.stop())
  return site
}
