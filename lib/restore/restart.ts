import { Failure, reason } from '../core/failure.ts'
import { lastLines } from '../core/format.ts'
import { retry } from '../core/retry.ts'
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
  const ask = async (): Promise<void> => {
    const response = await fetch(address, { signal: AbortSignal.timeout(10_000), redirect: 'manual' })
    const text = await response.text()
    if (response.status !== 200 || !/"status"\s*:\s*"ok"/.test(text)) throw new Error(`it answers ${response.status}`)
  }
  await retry(ask, {
    withinMs: 60_000,
    waitMs: (error) => {
      log.status(`${address}: ${reason(error)}`)
      return 1000
    },
  }).catch((error: unknown) => {
    throw new Failure(
      `The data is restored, but ${address} is not well: ${reason(error)}`,
      `Look: sudo dokku logs ${settings.DOKKU_APP}. To go back: restore --undo`,
    )
  })
  log.info(`${address} says ok`)
}
