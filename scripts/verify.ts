// Looks at the site as a visitor would. See --help.

import type { Command } from '../lib/cli/arguments.ts'
import { type Context, main } from '../lib/cli/main.ts'
import { checkSettings, readSettings } from '../lib/cli/settings.ts'
import { EXIT } from '../lib/core/failure.ts'
import { isoLocal } from '../lib/core/times.ts'
import { parseExpectedSha, parseSeconds, parseSite } from '../lib/verify/arguments.ts'
import { type Browser, findBrowser, startBrowser } from '../lib/verify/browser.ts'
import { browserChecks, prepareFolder } from '../lib/verify/browser-checks.ts'
import { isGreen, type VerifyOptions, verifySite } from '../lib/verify/checks.ts'
import { tellActions } from '../lib/verify/github-actions.ts'
import { connectRelease, type ReleaseQuestion } from '../lib/verify/release.ts'
import { failureList, nextCommands, resultLine, resultsJson, summaryLine, verifyLive } from '../lib/verify/report.ts'
import type { CheckResult } from '../lib/verify/run-check.ts'

const COMMAND: Command = {
  name: 'verify',
  switches: ['browser', 'json'],
  options: ['url', 'timeout', 'expect-sha', 'screenshots'],
  help: `
Usage: verify [--url URL] [--timeout SECONDS] [--expect-sha SHA] [--browser]
              [--screenshots DIR] [--json] [--env-file PATH]

Looks at the site as a visitor would, and is green only when it works: homepage
and stylesheet, login, map data, admin, health, certificate. All checks run at
the same time, each until it passes or the time is up. It changes nothing, and
never rolls back by itself.

  --url URL          The site; else $SITE_URL, else https://bookcorners.org.
  --timeout SECONDS  How long to go on trying (60).
  --expect-sha SHA   Also ask the server, as dokku@$DOKKU_HOST over SSH, whether
                     it runs this commit (7 to 40 digits) and its processes.
  --browser          Also open home and map in an installed Chrome or Chromium:
                     is the stylesheet applied, is a marker drawn?
  --screenshots DIR  Keep home.png and map.png there; implies --browser.
  --json             Print the result as one JSON object (times in seconds).
  --env-file PATH    Settings; else $OPS_ENV_FILE, else /home/deploy/.env.backup.
                     None is needed.
  --version, --help

On GitHub Actions: annotations, a table in the job's summary, and the output
verified=true or verified=false.

Exit status: 0 all checks passed (warnings are shown), 1 a check failed, 2 usage
or configuration error, 129/130/143 interrupted.

Examples:
  verify
  verify --expect-sha $(git rev-parse HEAD)       after a deploy
  verify --url http://localhost:8000 --timeout 5  a site on this machine
  verify --screenshots /tmp/shots                 and look at it yourself
`,
}

const SERVER = ['DOKKU_HOST', 'DEPLOY_USER', 'DOKKU_APP'] as const

await main(COMMAND, async (context) => {
  const { url, timeoutMs, release } = readQuestion(context)
  const { values, flags, shell } = context
  const closing: (() => Promise<void>)[] = []
  try {
    const server = release && (await connectRelease(shell, release))
    if (server) closing.push(server.close)
    const browser = flags.has('browser') || values.screenshots ? await openBrowser(context) : undefined
    if (browser) closing.push(browser.close)
    const more = browser ? browserChecks(browser, url, { folder: values.screenshots }) : []
    const startedMs = performance.now()
    const results = await run(context, { url, timeoutMs, signal: shell.signal, release: server, more })
    await report(context, url, results, performance.now() - startedMs)
    return isGreen(results) ? EXIT.done : EXIT.failed
  } finally {
    await Promise.all(closing.map((close) => close()))
  }
})

/** What is asked, by flags and settings. Only the settings that are used must be right. */
function readQuestion({ values, environment, envFile }: Context): {
  url: string
  timeoutMs: number
  release: ReleaseQuestion | undefined
} {
  const timeoutMs = parseSeconds(values.timeout ?? '60') * 1000
  const sha = parseExpectedSha(values['expect-sha'])
  const asked = [...(values.url === undefined ? (['SITE_URL'] as const) : []), ...(sha === undefined ? [] : SERVER)]
  // Even if nothing is asked for, an env file that was named must be one.
  const settings = readSettings(asked, environment, envFile)
  const url = values.url === undefined ? settings.SITE_URL : parseSite(values.url)
  return { url, timeoutMs, release: sha === undefined ? undefined : { sha, settings, timeoutMs } }
}

async function openBrowser({ shell, environment, values }: Context): Promise<Browser> {
  const file = await findBrowser(shell.env.PATH ?? '')
  if (values.screenshots !== undefined) await prepareFolder(values.screenshots)
  // A private authority that Node is told of is unknown to the browser; the TLS check judges the certificate.
  return startBrowser(shell, file, Boolean(environment.NODE_EXTRA_CA_CERTS))
}

/** Runs the checks and shows them as they come: a live table at a terminal, lines in a log. */
function run({ flags, print }: Context, options: VerifyOptions): Promise<CheckResult[]> {
  if (flags.has('json')) return verifySite(options)
  if (process.stdout.isTTY) return verifyLive(options, process.stdout)
  return verifySite({ ...options, onResult: (result) => print(resultLine(result)) })
}

async function report(context: Context, url: string, results: CheckResult[], tookMs: number): Promise<void> {
  const { flags, log, environment, envFile } = context
  if (flags.has('json')) context.printJson(resultsJson(url, results, tookMs))
  else context.print(`${process.stdout.isTTY ? '' : `${isoLocal(new Date())} `}${summaryLine(url, results, tookMs)}`)
  // The runner reads commands from both streams; a JSON object has stdout for itself.
  const print = (line: string): void => log.command(line, flags.has('json') ? 'stderr' : 'stdout')
  if (!isGreen(results)) {
    const known = checkSettings(SERVER, environment, envFile).settings
    log.error(`What failed:\n${failureList(results)}`)
    log.info(nextCommands(results, known.DOKKU_APP ?? 'book-corners', known.DOKKU_HOST))
  }
  await tellActions({ environment, print, log }, url, results)
}
