// The app after a swap. It goes on by itself with the new database; this looks whether it does.

import { Failure, fetchReason, reason } from '../core/failure.ts'
import { lastLines } from '../core/format.ts'
import { retry } from '../core/retry.ts'
import { parseSha, shortSha } from '../core/sha.ts'
import {
  configuredRevisionArgs,
  containerRevisionArgs,
  parseProcesses,
  psReportArgs,
  restartArgs,
} from '../dokku/dokku.ts'
import type { Restore } from './restore.ts'

/** Each connection that a swap has ended costs one bad answer at most. */
const SITE_MS = 30_000
const RESTARTED_MS = 60_000
const PROCESSES_MS = 60_000
const WAIT_MS = 1000
const GO_BACK = 'To go back: restore --undo'

/**
 * Waits until the site, if one is set, and every process of the app are well. Only when the site stays bad, the app is restarted.
 * @returns false when the app is not deployed: then there is nothing to wait for
 * @throws Failure that says what is not well, and the next command; the data is restored all the same
 */
export async function awaitApp(restore: Restore): Promise<boolean> {
  const { context, settings } = restore
  if (!(await isDeployed(restore))) {
    context.log.info(`${settings.DOKKU_APP} is not deployed: its site is not asked, and nothing is restarted`)
    return false
  }
  // Unless somebody set it, SITE_URL is Book Corners' own site, and this may be another app's server.
  if (context.environment.SITE_URL || context.envFile.values.SITE_URL) {
    const address = `${settings.SITE_URL}/health/`
    await siteIsWell(restore, address, SITE_MS).catch(async (error: unknown) => {
      context.log.warn(`${address} stays bad: ${fetchReason(error)}`)
      await restart(restore)
      await siteIsWell(restore, address, RESTARTED_MS).catch((still: unknown) => {
        throw new Failure(
          `The data is restored, but ${address} is not well: ${fetchReason(still)}`,
          `Look: sudo dokku logs ${settings.DOKKU_APP}. ${GO_BACK}`,
        )
      })
    })
    context.log.info(`${address} says ok`)
  }
  await processesRun(restore)
  return true
}

/** On a new server the data comes before the code. What can't be known counts as deployed. */
export async function isDeployed({ dokku, settings }: Restore): Promise<boolean> {
  const output = await dokku.lasting
    .run(psReportArgs(settings.DOKKU_APP), { timeoutMs: ANSWER_MS })
    .catch(() => undefined)
  if (output?.exitCode !== 0) return true
  try {
    return parseProcesses(output.stdout).isDeployed
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    return true
  }
}

/** @throws Error that says how it answers */
async function siteIsWell({ context }: Restore, address: string, withinMs: number): Promise<void> {
  const ask = async (): Promise<void> => {
    const response = await fetch(address, { signal: AbortSignal.timeout(10_000), redirect: 'manual' })
    const text = await response.text()
    if (response.status !== 200 || !/"status"\s*:\s*"ok"/.test(text)) throw new Error(`it answers ${response.status}`)
  }
  await retry(ask, {
    withinMs,
    waitMs: (error) => {
      context.log.status(`${address}: ${fetchReason(error)}`)
      return WAIT_MS
    },
  })
}

/**
 * A restart starts what was last built, under the configured GIT_REV: after a deploy that failed, a release that never went
 * live. So it is done only when that is what runs.
 */
async function restart(restore: Restore): Promise<void> {
  const { dokku, context, settings } = restore
  const app = settings.DOKKU_APP
  const { runs, wouldRun } = await askRevisions(restore)
  if (runs === undefined || runs !== wouldRun)
    throw new Failure(
      `The data is restored, but the site is not well. ${app} was not restarted: it runs ${runs ? shortSha(runs) : 'a release that it does not name'}, and a restart would start ${wouldRun ? shortSha(wouldRun) : 'one that Dokku does not name'}.`,
      `Look: sudo dokku logs ${app}. To start it again: ${await restartAdvice(restore)}. ${GO_BACK}`,
    )
  context.log.info(`Restarting ${app}`)
  const output = await dokku.lasting.run(restartArgs(app))
  if (output.exitCode !== 0)
    throw new Failure(
      `The data is restored, but ${app} did not restart: ${lastLines(output.stderr) || lastLines(output.stdout)}`,
      `Look: sudo dokku logs ${app}. When that is fixed: sudo dokku ps:restart ${app}. ${GO_BACK}`,
    )
}

/** A container that hangs does not answer; it must not hold anybody up for long. */
const ANSWER_MS = 10_000

interface Revisions {
  /** Of the web container. */
  runs: string | undefined
  /** What a restart starts. */
  wouldRun: string | undefined
}

async function askRevisions({ dokku, settings: { DOKKU_APP: app } }: Restore): Promise<Revisions> {
  const [runs, wouldRun] = await Promise.all(
    [containerRevisionArgs(app), configuredRevisionArgs(app)].map(async (args) => {
      const output = await dokku.lasting.run(args, { timeoutMs: ANSWER_MS }).catch(() => undefined)
      return output?.exitCode === 0 ? parseSha(output.stdout) : undefined
    }),
  )
  return { runs, wouldRun }
}

/**
 * How the app is started again by somebody: by a restart only where that starts what runs.
 * @param types of its processes; without any all of them
 */
export async function restartAdvice(restore: Restore, types: readonly string[] = []): Promise<string> {
  const app = restore.settings.DOKKU_APP
  const { runs, wouldRun } = await askRevisions(restore)
  if (runs !== undefined && runs === wouldRun)
    return (types.length === 0 ? [''] : types.map((type) => ` ${type}`))
      .map((type) => `sudo dokku ps:restart ${app}${type}`)
      .join('; ')
  const isDeployed = runs !== undefined && runs === (await restore.dokku.lasting.gitSha(app).catch(() => undefined))
  const command = isDeployed ? 'rollback --rebuild' : 'deploy --status, which names the command'
  const why = `ps:restart would start ${wouldRun ? shortSha(wouldRun) : 'the last attempt'}, which need not have gone live`
  return `on the laptop, ${command} (${why}${runs ? `; ${shortSha(runs)} runs` : ''})`
}

/** The app has other processes than the web's, which hold a connection, too: one that a swap has ended may need a moment. */
async function processesRun(restore: Restore): Promise<void> {
  const { dokku, context, settings } = restore
  const { log } = context
  const app = settings.DOKKU_APP
  const look = async (): Promise<void> => {
    const { isDeployed, allRun, statuses } = parseProcesses((await dokku.lasting.must(psReportArgs(app))).stdout)
    if (!isDeployed) return log.info(`${app} is not deployed: there is no process to wait for`)
    if (!allRun) throw new Down([...statuses].filter(([, status]) => status !== 'running'))
  }
  await retry(look, {
    withinMs: PROCESSES_MS,
    waitMs: (error) => {
      if (!(error instanceof Down)) return
      log.status(`Not running yet: ${error.message}`)
      return WAIT_MS
    },
  }).catch(async (error: unknown) => {
    if (error instanceof Down) throw await explainDown(restore, error)
    log.warn(`Whether the processes of ${app} run could not be found out: ${reason(error)}`)
  })
}

/** Processes do not run, each by its name with its status. */
class Down extends Error {
  constructor(readonly processes: readonly (readonly [name: string, status: string])[]) {
    super(processes.map(([name, status]) => `${name} ${status}`).join(', ') || 'Dokku does not say which')
  }
}

async function explainDown(restore: Restore, { message, processes }: Down): Promise<Failure> {
  const app = restore.settings.DOKKU_APP
  // `web.1` is the first process of the type `web`.
  const types = new Set(processes.map(([name]) => name.replace(/\.\d+$/, '')))
  return new Failure(
    `The data is restored, but not every process of ${app} runs: ${message}.`,
    `Look: sudo dokku logs ${app}. To start what is down: ${await restartAdvice(restore, [...types])}. ${GO_BACK}`,
  )
}
