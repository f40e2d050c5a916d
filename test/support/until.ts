// Waits for what another program does: as long as that takes on a busy machine, and no longer.
import { setTimeout as sleep } from 'node:timers/promises'

const LONGEST_MS = 60_000

export async function until(happened: () => boolean | Promise<boolean>): Promise<void> {
  const startedMs = performance.now()
  while (!(await happened())) {
    if (performance.now() - startedMs > LONGEST_MS) throw new Error(`It did not happen within a minute: ${happened}`)
    await sleep(50)
  }
}
