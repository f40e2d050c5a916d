import type { Context } from '../cli/main.ts'
import type { Settings } from '../cli/settings.ts'
import { Failure } from '../core/failure.ts'
import { plural } from '../core/format.ts'
import { liveRelease } from '../server/app.ts'
import type { Remote } from '../server/ssh.ts'
import { syncRelease } from '../server/sync.ts'
import { failedChecks, isGreen, verifySite } from '../verify/checks.ts'
import { tellActions } from '../verify/github-actions.ts'
import { resultLine } from '../verify/report.ts'
import { type CloudflareSettings, purgeCache } from './cloudflare.ts'

/** What comes after a release runs: nothing of it takes the release back, and all of it is tried. */
export interface Steps {
  /** What each step that went well has to say. */
  readonly done: readonly string[]
  /** The names of those that did not. */
  readonly failed: readonly string[]
  /** A step whose failure is a warning. */
  may(otherwise: string, step: () => Promise<string>): Promise<boolean>
  /** A step whose failure is one of the whole run, at its end. */
  must(name: string, step: () => Promise<string>): Promise<boolean>
}

export function createSteps({ log, shell }: Pick<Context, 'log' | 'shell'>): Steps {
  const done: string[] = []
  const failed: string[] = []
  const attempt = async (step: () => Promise<string>, otherwise: (failure: Failure) => void): Promise<boolean> => {
    try {
      done.push(await step())
      return true
    } catch (error) {
      shell.signal.throwIfAborted()
      if (!(error instanceof Failure)) throw error
      otherwise(error)
      return false
    }
  }
  return {
    done,
    failed,
    may: (otherwise, step) =>
      attempt(step, ({ message, hint }) => {
        log.warn(`${otherwise}: ${message}`)
        if (hint) log.info(hint)
      }),
    must: (name, step) =>
      attempt(step, ({ message, hint }) => {
        failed.push(name)
        log.error(message)
        if (hint) log.info(hint)
      }),
  }
}

/** @throws Failure with the reason; the server keeps the ops scripts it has */
export async function syncStep({ log }: Pick<Context, 'log'>, remote: Remote, opsDir: string): Promise<string> {
  const { release, changed } = await syncRelease(remote, { opsDir, log })
  const said = `ops scripts ${changed ? 'synced' : 'unchanged'} (${release})`
  log.info(`Sync: ${said}.`)
  return said
}

/** @throws Failure with Cloudflare's words */
export async function purgeStep(
  { log, shell }: Pick<Context, 'log' | 'shell'>,
  settings: CloudflareSettings,
): Promise<string> {
  const purged = await purgeCache(settings, log, shell.signal)
  const said = purged ? 'cache purged' : 'cache purge skipped (CLOUDFLARE_ZONE_ID and CLOUDFLARE_API_TOKEN are not set)'
  log.info(`Purge: ${said}.`)
  return said
}

const VERIFY_TIMEOUT_MS = 60_000

/**
 * Looks at the site, and asks the server whether it runs `sha`.
 * @throws Failure that names the checks that failed
 */
export async function verifyStep(
  { log, shell, environment, print }: Pick<Context, 'log' | 'shell' | 'environment' | 'print'>,
  remote: Remote,
  { SITE_URL: url, DOKKU_APP: app }: Settings<'SITE_URL' | 'DOKKU_APP'>,
  sha: string,
): Promise<string> {
  log.status(`Verifying ${url}`)
  const results = await verifySite({
    url,
    timeoutMs: VERIFY_TIMEOUT_MS,
    signal: shell.signal,
    release: {
      sha,
      // One of the two is enough: HEAD need not be the deploy branch, and not every container knows its revision.
      ask: async () => {
        const live = await liveRelease(remote, app)
        return { ...live, sha: live.revision === sha ? sha : live.sha, revision: undefined }
      },
    },
    onResult: (result) => log.info(resultLine(result, log.isTerminal)),
  })
  await tellActions({ environment, print, log }, url, results)
  const failed = failedChecks(results)
  if (isGreen(results)) return `verified (${plural(results.length, 'check')})`
  throw new Failure(
    `${url} fails ${plural(failed.length, 'check')}: ${failed.map(({ name }) => name).join(', ')}.`,
    'Look: deploy --logs. Back to an earlier release: rollback',
  )
}
