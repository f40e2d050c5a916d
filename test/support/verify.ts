import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { startSite } from './site.ts'

const SCRIPT = fileURLToPath(new URL('../../scripts/verify.ts', import.meta.url))
const TSX = import.meta.resolve('tsx')

export interface VerifyRun {
  exitCode: number | null
  stdout: string
  stderr: string
}

/** Runs the real script, with next to no environment, no env file and no terminal; `signal` is sent when its checks run. */
export function verify(
  args: readonly string[],
  { env = {}, signal }: { env?: Record<string, string>; signal?: NodeJS.Signals } = {},
): Promise<VerifyRun> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--import', TSX, '--', SCRIPT, ...args], {
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
