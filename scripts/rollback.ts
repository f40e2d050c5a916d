import type { Command } from '../lib/cli/arguments.ts'
import { type Context, main } from '../lib/cli/main.ts'
import { readSettings } from '../lib/cli/settings.ts'
import { EXIT, Failure } from '../lib/core/failure.ts'
import { duration, printable } from '../lib/core/format.ts'
import { shortSha } from '../lib/core/sha.ts'
import { quoteAll } from '../lib/core/shell.ts'
import { finish, summary } from '../lib/deploy/finish.ts'
import { bringLive, goLive, type Run, record } from '../lib/deploy/go-live.ts'
import { describePlan, makePlan, type Plan, requireHistory } from '../lib/deploy/plan.ts'
import { pushArgs } from '../lib/deploy/push.ts'
import { createSteps, verifyStep } from '../lib/deploy/steps.ts'
import { describeCommit, hasCommit, openCheckout, whoDeploys } from '../lib/git/checkout.ts'
import { crossingFailure, describeCrossing } from '../lib/rollback/migrations.ts'
import { checkRevision, rebuildApp } from '../lib/rollback/rebuild.ts'
import { listReleases, releaseLines } from '../lib/rollback/releases.ts'
import { followOrigin, pushToOrigin, requireClean, requireIdentity, requireOrigin } from '../lib/rollback/revert.ts'
import { makeRevert } from '../lib/rollback/revert-plan.ts'
import {
  lookAround,
  notRunning,
  resolveTarget,
  type Situation,
  tellNewestBackup,
  warnOfCommit,
  warnOfOrigin,
} from '../lib/rollback/situation.ts'
import { describeState, serverState } from '../lib/server/app.ts'
import { connectRemote } from '../lib/server/ssh.ts'

const MODES = ['list', 'to', 'revert', 'rebuild']

const COMMAND: Command = {
  name: 'rollback',
  switches: ['list', 'revert', 'now', 'rebuild', 'allow-migrations', 'dry-run', 'yes'],
  options: ['to', 'repo'],
  exclusive: [MODES],
  help: `
Usage: rollback                     at a terminal: pick a release, and go back to it
       rollback --list
       rollback --to SHA            [--allow-migrations] [--dry-run] [--yes]
       rollback --revert [--now]    [--allow-migrations] [--dry-run] [--yes]
       rollback --rebuild           [--dry-run] [--yes]

Puts a good release back, and verifies the site. What will be pushed is shown
first. Without a terminal it wants --yes.

  --list              What runs now and what ran before it.
  --to SHA            Push that commit (short SHA, tag, branch) to Dokku at once.
                      origin keeps the newer commits: the next CI deploy brings
                      them back, unless they are reverted as well.
  --revert            Revert what the last deploy brought, and push that to
                      origin: CI tests and deploys it.
  --now               With --revert: push it to Dokku at once as well.
  --rebuild           Build and start what is deployed once more: the code is
                      right, the container is not.
  --allow-migrations  Go back although the database was migrated since.
  --dry-run           Show what would be pushed.
  --yes               Don't ask. It does not stand for --allow-migrations.
  --repo DIR          The app's git checkout; else the current directory.
  --env-file PATH     Settings; else $OPS_ENV_FILE, else /home/deploy/.env.backup.
  --version, --help

Settings: those of deploy.

Exit status: 0 done, 1 failed or refused, 2 usage or configuration error (nothing
was touched), 75 another deploy holds Dokku's lock, 130/143 interrupted.

Examples:
  rollback --to v1.4.2 --dry-run    what would be pushed, and what is in the way
  rollback --to v1.4.2              production back at once
  rollback --revert --now           the same for good: the next push keeps it
`,
}

const NAMES = ['DOKKU_HOST', 'DEPLOY_USER', 'OPS_DIR', 'DOKKU_APP', 'DEPLOY_BRANCH', 'SITE_URL'] as const
const CLOUDFLARE = ['CLOUDFLARE_ZONE_ID', 'CLOUDFLARE_API_TOKEN', 'CLOUDFLARE_API_URL'] as const

/** What every mode works with. */
interface Job extends Situation {
  context: Context
  settings: ReturnType<typeof readSettings<(typeof NAMES)[number] | (typeof CLOUDFLARE)[number]>>
  run: Omit<Run, 'kind'>
  app: string
  branch: string
}

await main(COMMAND, async (context) => {
  const { shell, log, environment, envFile, flags, values } = context
  const mode = chosenMode(context)
  const settings = readSettings([...NAMES, ...CLOUDFLARE], environment, envFile)
  const { DOKKU_APP: app, DEPLOY_BRANCH: branch } = settings
  const checkout = await openCheckout(shell, values.repo ?? process.cwd())
  const startedMs = Date.now()
  if (mode !== 'list' && mode !== 'rebuild') await requireHistory(checkout)
  if (mode === 'revert') for (const requirement of [requireOrigin, requireIdentity]) await requirement(checkout)
  // A file that git does not know must not keep anybody from going back.
  if (mode !== 'list' && mode !== 'rebuild') await requireClean(checkout, mode === 'revert' ? 'normal' : 'no')
  const target = values.to === undefined ? undefined : await resolveTarget(checkout, values.to, log)
  const remote = await connectRemote(shell, settings)
  try {
    const situation = await lookAround(checkout, remote, { app, branch, opsDir: settings.OPS_DIR, log })
    const who = await whoDeploys(checkout, environment)
    const run = { settings, shell, log, checkout, remote, who, startedMs }
    const job: Job = { context, settings, run, app, branch, ...situation }
    if (mode === 'list') return await list(job)
    if (mode === 'rebuild') return await rebuild(job)
    if (mode === 'revert') return await revert(job, flags.has('now'))
    return await backTo(job, target ?? (await pick(job)))
  } finally {
    await remote.close()
  }
})

function chosenMode({ flags, values, interactive }: Context): string | undefined {
  const see = 'See: rollback --help'
  if (flags.has('now') && !flags.has('revert')) throw new Failure('--now goes with --revert only.', see, EXIT.usage)
  const mode = MODES.find((mode) => flags.has(mode) || mode in values)
  if (mode === undefined && (!interactive || flags.has('yes')))
    throw new Failure(
      `${interactive ? '--yes does not say' : 'There is no terminal to ask at'} which release to go back to.`,
      'Use --to SHA, --revert or --rebuild; see the releases with --list.',
      EXIT.usage,
    )
  return mode
}

async function releasesOf({ run, running, branch, entries }: Job) {
  const { releases, source } = await listReleases(run.checkout, entries, running, branch)
  return { releases, source, lines: releaseLines(releases) }
}

async function list(job: Job): Promise<number> {
  const { source, lines } = await releasesOf(job)
  job.context.print([source, ...lines].join('\n'))
  return EXIT.done
}

async function pick(job: Job): Promise<string> {
  const { releases, source, lines } = await releasesOf(job)
  const [now = '', ...others] = lines
  if (others.length === 0) throw new Failure('No release is known but the one that runs.', 'Name a commit: --to SHA')
  job.run.log.info(`${source}\n      ${now}`)
  const index = await job.context.ask.pick('Back to which release?', others)
  return resolveTarget(job.run.checkout, releases[index + 1]?.sha ?? '', job.run.log)
}

/** Shows what would be pushed. @returns false after a dry run @throws Failure when migrations are in the way, or it is not agreed to */
async function agree({ context, settings, run, app, running }: Job, text: string, target: string): Promise<boolean> {
  const { flags, print, log, ask } = context
  const newestBackup = (): Promise<string> => tellNewestBackup(run.remote, settings.OPS_DIR)
  const dryRun = flags.has('dry-run')
  if (dryRun) print(text)
  else log.info(text)
  const crossing = await describeCrossing(run.checkout, { app, target, current: running, newestBackup })
  if (crossing.length > 0 && !flags.has('allow-migrations')) throw crossingFailure(crossing)
  if (crossing.length > 0) log.warn(crossing.join('\n'))
  if (dryRun) print('Nothing was pushed.')
  else await ask.confirm(`This changes what ${app} runs.`, 'yes')
  return !dryRun
}

/** The push as it could be typed. */
function pushLine({ branch }: Job, to: string, sha: string, lease: string): string {
  return `Push: ${quoteAll(['git', ...pushArgs(to, sha, branch, lease)])}`
}

async function backTo(job: Job, sha: string): Promise<number> {
  const { context, settings, app, branch, deployed, running } = job
  const run: Run = { ...job.run, kind: 'rollback' }
  if (sha === deployed && sha !== running) throw notRunning(run.remote, app, sha, running)
  if (sha === deployed)
    throw new Failure(
      `${shortSha(sha)} is live already: nothing was pushed.`,
      'If its container is broken: rollback --rebuild. Other releases: rollback --list',
    )
  const plan = await makePlan(run.checkout, { app, branch, deployed, sha })
  await warnOfCommit(run.checkout, sha, run.log)
  await warnOfOrigin(run.checkout, branch, sha, run.log)
  if (!(await agree(job, `${describePlan(plan)}\n${pushLine(job, run.remote.gitUrl(app), sha, deployed)}`, sha)))
    return EXIT.done
  const outcome = await goLive(run, plan)
  return finish(context, run, plan, { outcome, runs: 'is live', settings })
}

async function revert(job: Job, now: boolean): Promise<number> {
  const { context, settings, app, branch, deployed, running, entries } = job
  const run: Run = { ...job.run, kind: 'revert' }
  const { checkout, remote, log } = run
  const { head, sha, text } = await makeRevert(checkout, context, { branch, running, entries })
  if (sha === head && (!now || sha === deployed))
    throw new Failure(
      `origin/${branch} has that reverted already: nothing was pushed.`,
      sha === deployed ? 'It is live, too. Look: deploy --status' : 'CI deploys it. At once: rollback --revert --now',
    )
  const plan = await makePlan(checkout, { app, branch, deployed, sha })
  const steps = [
    text,
    sha === head ? 'origin has that already.' : pushLine(job, 'origin', sha, head),
    now ? `${describePlan(plan)}\n${pushLine(job, remote.gitUrl(app), sha, deployed)}` : 'CI tests and deploys it.',
  ]
  if (!(await agree(job, steps.join('\n'), sha))) return EXIT.done
  if (sha !== head) {
    await pushToOrigin(checkout, { sha, branch, head, later: context.cleanup, log })
    log.info(`origin/${branch} holds the revert ${shortSha(sha)}; ${await followOrigin(checkout, branch, head, sha)}.`)
  }
  if (!now) return pushed(job, run, plan)
  const outcome = await goLive(run, plan).catch((error: unknown) => {
    log.warn(`origin/${branch} holds the revert: CI deploys it. At once, again: rollback --revert --now`)
    throw error
  })
  return finish(context, run, plan, { outcome, runs: 'is live', settings })
}

/** The revert is CI's now; what runs until then is told, and looked at, without a part in the exit status. */
async function pushed({ context, settings, app, branch }: Job, run: Run, plan: Plan): Promise<number> {
  await record(run, plan, 'pushed', null)
  const steps = createSteps(context)
  const { sha } = plan.commit
  await steps.may('Until CI has deployed it', async () => {
    const state = await serverState(run.remote, app)
    run.log.info(describeState(state, sha, ['with the revert', 'without the revert']))
    return `${shortSha(state.sha ?? '')} runs until then: ${await verifyStep(context, run.remote, settings, state.sha ?? '')}`
  })
  const took = duration(Date.now() - run.startedMs)
  context.print(summary(context, `${shortSha(sha)} is on origin/${branch}: CI tests and deploys it (${took})`, steps))
  return EXIT.done
}

async function rebuild(job: Job): Promise<number> {
  const { context, settings, app, branch, deployed } = job
  const run: Run = { ...job.run, kind: 'rebuild' }
  const { checkout, remote, log } = run
  const warning = await checkRevision(remote, app, deployed)
  if (warning) log.warn(warning)
  const commit = (await hasCommit(checkout, deployed))
    ? await describeCommit(checkout, deployed)
    : { sha: deployed, author: '', at: new Date(0), subject: '(not in this checkout)', migrations: [] }
  const plan: Plan = { app, branch, deployed, commit, commits: [], dropped: [] }
  const what = `${shortSha(deployed)} ${printable(commit.subject)} is built and started once more: dokku ps:rebuild ${app}`
  if (!(await agree(job, what, deployed))) return EXIT.done
  const outcome = await bringLive(run, plan, (onLine) => rebuildApp(remote, app, onLine))
  return finish(context, run, plan, { outcome, runs: 'is rebuilt', settings })
}
