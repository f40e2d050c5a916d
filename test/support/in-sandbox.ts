// The demo and the benchmarks: each runs in a sandbox of its own that is gone afterwards, whichever way it ends.
import { setTimeout as sleep } from 'node:timers/promises'
import { SIGNALS } from './ending.ts'
import { ensurePackages } from './packages.ts'
import { type Sandbox, startSandbox } from './sandbox.ts'

/** Ends the process with the status that `body` returns, with 1 when it throws, and with the shell's status for a signal. */
export async function inSandbox(body: (sandbox: Sandbox) => Promise<number>): Promise<void> {
  ensurePackages()
  let sandbox: Sandbox | undefined
  let interrupted = false
  for (const [name, status] of SIGNALS)
    process.on(name, async () => {
      if (interrupted) return
      interrupted = true
      console.error(`\n${name}: cleaning up, wait.`)
      await sandbox?.stop()
      process.exit(status)
    })
  let status = 1
  try {
    sandbox = await startSandbox()
    status = await body(sandbox)
  } catch (error) {
    // A Ctrl-C reaches the children, too, and what fails because of it is no news; their end may be heard of first.
    await sleep(200)
    if (!interrupted) console.error(error instanceof Error ? error.stack : error)
  }
  if (interrupted) return
  await sandbox?.stop()
  process.exitCode = status
}
