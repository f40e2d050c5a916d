import { Failure, reason } from '../core/failure.ts'
import { lastLines } from '../core/format.ts'
import { restartArgs } from '../dokku/dokku.ts'
import type { Restore } from './restore.ts'

/** Restarts the app and asks the site, if one is set, whether it is well. */
export async function restartApp({ lasting, context, settings }: Restore): Promise<void> {
  const { environment, envFile, log } = context
  log.info(`Restarting ${settings.DOKKU_APP}`)
  const output = await lasting.run(restartArgs(settings.DOKKU_APP))
  if (output.exitCode !== 0)
    throw new Failure(
      `The data is restored, but ${settings.DOKKU_APP} did not restart: ${lastLines(output.stderr) || lastLines(output.stdout)}`,
      `Type: sudo dokku ps:restart ${settings.DOKKU_APP}. To go back: restore --undo`,
    )
  if (!environment.SITE_URL && !envFile.values.SITE_URL) return
  const address = `${settings.SITE_URL}/health/`
  const deadline = Date.now() + 60_000
  for (;;) {
    const seen = await fetch(address, { signal: AbortSignal.timeout(10_000), redirect: 'manual' }).then(
      async (response) => {
        const text = await response.text()
        return response.status === 200 && /"status"\s*:\s*"ok"/.test(text) ? undefined : `it answers ${response.status}`
      },
      (error: unknown) => reason(error),
    )
    if (seen === undefined) return log.info(`${address} says ok`)
    if (Date.now() > deadline)
      throw new Failure(
        `The data is restored, but ${address} is not well: ${seen}`,
        `Look: sudo dokku logs ${settings.DOKKU_APP}. To go back: restore --undo`,
      )
    log.status(`${address}: ${seen}`)
    await new Promise((resolve) => setTimeout(resolve, 1000))
  }
}
