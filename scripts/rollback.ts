// Puts a good release of the app back.

import type { Command } from '../lib/cli/arguments.ts'
import { SO } from '../lib/cli/closing.ts'
import { type Context, main } from '../lib/cli/main.ts'
import { nobodyToAsk } from '../lib/cli/prompt.ts'
import { EXIT, Failure } from '../lib/core/failure.ts'
import { wrap } from '../lib/core/layout.ts'
import { type Deployment, withDeployment } from '../lib/deploy/deployment.ts'
import { finish } from '../lib/deploy/finish.ts'
import { bringLive, goLive } from '../lib/deploy/go-live.ts'
import { describePlan, makePlan } from '../lib/deploy/plan.ts'
import { requireHistory } from '../lib/deploy/preflight.ts'
import { requireClean, requireIdentity } from '../lib/git/checkout.ts'
import { agree, pushLine } from '../lib/rollback/agree.ts'
import { findLeftover } from '../lib/rollback/leftover.ts'
import { bringToOrigin, leaveToCi, requireOrigin } from '../lib/rollback/origin.ts'
import { describeRebuild, planRebuild, rebuildApp } from '../lib/rollback/rebuild.ts'
import { pickRelease, releasesJson, showReleases } from '../lib/rollback/releases.ts'
import { describeRevert, makeRevert, requireSomethingToPush } from '../lib/rollback/revert.ts'
import { lookAround, requireNotLive, resolveTarget, type Situation, warnOfCommit } from '../lib/rollback/situation.ts'

const MODES = { list, to, revert, rebuild }

const COMMAND: Command = {
  name: 'rollback',
  switches: ['list', 'revert', 'now', 'rebuild', 'allow-migrations', 'dry-run', 'yes', 'json'],
  options: ['to', 'repo'],
  exclusive: [Object.keys(MODES)],
  goesWith: { json: ['list'], now: ['revert'] },
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
  --json              With --list: one JSON object.
  --yes               Don't ask. It does not stand for --allow-migrations.
  --repo DIR          The app's git checkout; else the current directory.
  --env-file PATH     Settings; else $OPS_ENV_FILE, else /home/deploy/.env.backup.
  --version, --help

Settings: those of deploy.

Exit status: 0 done, 1 failed or refused, 2 usage or configuration error (nothing
was touched), 75 another deploy holds Dokku's lock, 129/130/143 interrupted.

Examples:
  rollback --to v1.4.2 --dry-run    what would be pushed, and what is in the way
  rollback --to v1.4.2              production back at once
  rollback --revert --now           the same for good: the next push keeps it
`,
}

await main(COMMAND, async (context) => {
  const mode = chosenMode(context)
  const kind = mode === 'revert' || mode === 'rebuild' ? mode : 'rollback'
  return withDeployment(context, kind, mode === undefined ? pick : MODES[mode])
})

/** @returns undefined when a release is to be picked at the terminal */
function chosenMode(context: Context): keyof typeof MODES | undefined {
  const { flags, values, interactive } = context
  const mode = (Object.keys(MODES) as (keyof typeof MODES)[]).find((mode) => flags.has(mode) || mode in values)
  if (mode !== undefined) return mode
  const hint = 'Use --to SHA, --revert or --rebuild; see the releases: rollback --list'
  if (flags.has('yes')) throw new Failure('--yes does not say which release to go back to.', hint, EXIT.usage)
  if (!interactive) throw nobodyToAsk(context, 'A release is to be picked', hint)
  return undefined
}

async function list(deployment: Deployment): Promise<number> {
  const { context } = deployment
  const situation = await lookAround(deployment)
  if (context.flags.has('json')) context.printJson(await releasesJson(deployment, situation))
  else context.print(await showReleases(deployment, situation))
  return EXIT.done
}

async function to(deployment: Deployment): Promise<number> {
  await requireReady(deployment)
  const target = await resolveTarget(deployment, deployment.context.values.to ?? '')
  return backTo(deployment, await lookAround(deployment), target)
}

async function pick(deployment: Deployment): Promise<number> {
  await requireReady(deployment)
  const situation = await lookAround(deployment)
  return backTo(deployment, situation, await pickRelease(deployment, situation))
}

/** A file that git does not know must not keep anybody from going back. */
async function requireReady({ checkout }: Deployment): Promise<void> {
  requireHistory(checkout)
  await requireClean(checkout, 'no')
}

async function backTo(deployment: Deployment, situation: Situation, sha: string): Promise<number> {
  const { checkout, remote, app, context } = deployment
  const { deployed } = situation
  requireNotLive(situation, sha)
  const plan = await makePlan(checkout, situation, sha)
  await warnOfCommit(deployment, sha)
  const leftover = await findLeftover(deployment, situation, sha)
  const text = [
    describePlan(deployment, plan),
    pushLine(deployment, remote.gitUrl(app), sha, deployed),
    ...(leftover ? [`Afterwards ${leftover.what} So then, before anybody pushes: ${leftover.keep}`] : []),
  ].join('\n')
  if (!(await agree(deployment, situation, plan, text))) return EXIT.done
  const live = await goLive(deployment, plan)
  const next = leftover && SO.originKeeps(leftover.what, leftover.keep)
  // However the run ends from now on.
  if (next) context.closing.so('origin', next)
  const exitCode = await finish(deployment, plan, live)
  if (next) context.print(wrap(next, context.log.resultColumns))
  return exitCode
}

async function revert(deployment: Deployment): Promise<number> {
  const { checkout, branch, context } = deployment
  for (const requirement of [requireHistory, requireOrigin, requireIdentity, requireClean]) await requirement(checkout)
  const now = context.flags.has('now')
  const situation = await lookAround(deployment)
  const made = await makeRevert(deployment, situation)
  requireSomethingToPush(deployment, made, situation.deployed, now)
  const plan = await makePlan(checkout, situation, made.sha)
  const text = describeRevert(deployment, plan, made, now)
  if (!(await agree(deployment, situation, plan, text))) return EXIT.done
  await bringToOrigin(deployment, made)
  if (!now) return leaveToCi(deployment, plan)
  const outcome = await goLive(deployment, plan).catch((error: unknown) => {
    context.log.warn(`origin/${branch} holds the revert: CI deploys it. At once, again: rollback --revert --now`)
    throw error
  })
  return finish(deployment, plan, outcome)
}

async function rebuild(deployment: Deployment): Promise<number> {
  const situation = await lookAround(deployment)
  const plan = await planRebuild(deployment, situation)
  if (!(await agree(deployment, situation, plan, describeRebuild(deployment, plan)))) return EXIT.done
  return finish(deployment, plan, await bringLive(deployment, plan, (onLine) => rebuildApp(deployment, plan, onLine)))
}
