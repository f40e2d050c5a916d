// A sync with nothing changed against what CI did before: scp of two files, then an ssh call.
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createLog } from '../../lib/core/log.ts'
import { createShell } from '../../lib/core/shell.ts'
import { connectRemote } from '../../lib/server/ssh.ts'
import { PROJECT, syncRelease } from '../../lib/server/sync.ts'
import { startServer } from '../support/server.ts'
import { timed } from './steps.ts'

interface SyncTimes {
  /** The sync step of a deploy with nothing changed: connect, ask, hang up. Median, in ms. */
  syncMs: number
  /** What CI did before: scp of two files, then ssh to move them into place. Median, in ms. */
  baselineMs: number
  /** Below 1: the sync is the cheaper one. */
  ratio: number
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}

/** Both over a real sshd on loopback, where a connection costs least: the network only adds to the baseline's second one. */
export async function benchSync(rounds = 9): Promise<SyncTimes> {
  const server = await startServer({ isSynced: false })
  // The baseline's commands are none of these scripts'.
  await server.gate('')
  const signal = new AbortController().signal
  const shell = createShell(server.env, signal)
  const log = createLog(process.stderr)
  const sync = async (): Promise<void> => {
    const remote = await connectRemote(shell, { DOKKU_HOST: server.host, DEPLOY_USER: 'deploy' })
    await syncRelease(remote, { opsDir: server.opsDir, log })
    await remote.close()
  }
  const target = `deploy@${server.host}`
  const baseline = async (): Promise<void> => {
    const files = ['backup.ts', 'deploy.ts'].map((name) => join(PROJECT, 'scripts', name))
    const move = 'mv upload/backup.ts backup.sh && mv upload/deploy.ts restore.sh && chmod +x backup.sh restore.sh'
    for (const command of [
      ['scp', '-q', ...files, `${target}:upload/`],
      ['ssh', target, move],
    ]) {
      const { exitCode, stderr } = await shell.run(command)
      if (exitCode !== 0) throw new Error(stderr)
    }
  }
  try {
    await sync()
    await shell.run(['ssh', target, 'mkdir -p upload'])
    const times: [number[], number[]] = [[], []]
    // In turns, so that a busy machine is busy for both.
    for (let i = 0; i < rounds; i++) {
      times[0].push(await timed(sync))
      times[1].push(await timed(baseline))
    }
    const [syncMs, baselineMs] = times.map(median) as [number, number]
    return { syncMs, baselineMs, ratio: syncMs / baselineMs }
  } finally {
    await server.stop()
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { syncMs, baselineMs, ratio } = await benchSync()
  console.log(`sync, nothing changed  ${syncMs.toFixed(0)} ms`)
  console.log(`scp of two files + ssh ${baselineMs.toFixed(0)} ms`)
  console.log(`ratio                  ${ratio.toFixed(2)} (target ≤ 1.00)`)
}
