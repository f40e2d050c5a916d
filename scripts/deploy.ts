import type { Command } from '../lib/cli/arguments.ts'
import { type Context, main } from '../lib/cli/main.ts'
import { readSettings } from '../lib/cli/settings.ts'
import { EXIT, Failure } from '../lib/core/failure.ts'
import { shortSha } from '../lib/core/sha.ts'
import { lines } from '../lib/core/shell.ts'
import { finish } from '../lib/deploy/finish.ts'
import { goLive, type Run } from '../lib/deploy/go-live.ts'
import { describePlan, type Plan, preflight } from '../lib/deploy/plan.ts'
import { describeStatus, readStatus } from '../lib/deploy/status.ts'
import { purgeStep, type Steps, syncStep } from '../lib/deploy/steps.ts'
import { explainDokku } from '../lib/dokku/errors.ts'
import { openCheckout, resolveCommit, whoDeploys } from '../lib/git/checkout.ts'
import { connectRemote, type Remote } from '../lib/server/ssh.ts'
import { explainSsh } from '../lib/server/ssh-errors.ts'

const ALONE = ['dry-run', 'sync-only', 'purge-only', 'status', 'logs']

const COMMAND: Command = {
  name: 'deploy',
  argument: 'REF',
  switches: [...ALONE, 'no-verify', 'yes'],
  options: ['repo'],
  exclusive: [ALONE, ...ALONE.filter((flag) => flag !== 'dry-run').map((flag) => [flag, 'no-verify'])],
  help: `
Usage: deploy [REF] [--no-verify] [--yes] [--repo DIR] [--env-file PATH]
       deploy [REF] --dry-run
       deploy --sync-only | --purge-only | --status | --logs

Pushes a commit (HEAD, or REF) to Dokku, syncs the ops scripts to the server,
purges Cloudflare's cache and verifies the site. At a terminal it shows what will
go live and asks first; without one, as in CI, it goes ahead.

  --dry-run        Show what would go live, and everything that speaks against it.
  --sync-only      Only sync the ops scripts (backup, restore) to the server.
  --purge-only     Only purge the cache.
  --no-verify      Don't look at the site afterwards.
  --status         What runs, since when, whose; processes, certificate, backup.
  --logs           Follow the app's log; Ctrl-C ends it.
  --yes            Don't ask.
  --repo DIR       The app's git checkout; else the current directory.
  --env-file PATH  Settings; else $OPS_ENV_FILE, else /home/deploy/.env.backup.
  --version, --help

Settings: DOKKU_HOST (required), DOKKU_APP, DEPLOY_BRANCH, DEPLOY_USER, OPS_DIR,
SITE_URL, CLOUDFLARE_ZONE_ID and CLOUDFLARE_API_TOKEN.

Exit status: 0 done, 1 failed, 2 usage or configuration error (nothing was
touched), 75 another deploy holds Dokku's lock, 130/143 interrupted.

Examples:
  deploy --dry-run     what would go live
  deploy               deploy HEAD
  deploy v1.4.2 --yes  deploy a tag without being asked
`,
}

const SERVER = ['DOKKU_HOST', 'DEPLOY_USER', 'OPS_DIR', 'DOKKU_APP'] as const
const CLOUDFLARE = ['CLOUDFLARE_ZONE_ID', 'CLOUDFLARE_API_TOKEN', 'CLOUDFLARE_API_URL'] as const

await main(COMMAND, async (context) => {
  const { flags, argument } = context
  const alone = ALONE.find((flag) => flags.has(flag) && flag !== 'dry-run')
  if (argument !== undefined && alone)
    throw new Failure(`--${alone} takes no commit.`, 'See: deploy --help', EXIT.usage)
  if (flags.has('purge-only')) return purgeOnly(context)
  if (flags.has('sync-only')) return withServer(context, syncOnly)
  if (flags.has('status')) return withServer(context, status)
  if (flags.has('logs')) return withServer(context, logs)
  return deploy(context)
})

async function deploy(context: Context): Promise<number> {
  const { shell, log, environment, envFile, flags } = context
  const names = [...SERVER, 'DEPLOY_BRANCH', 'SITE_URL', ...CLOUDFLARE] as const
  const settings = readSettings(names, environment, envFile)
  const checkout = await openCheckout(shell, context.values.repo ?? process.cwd())
  const sha = await resolveCommit(checkout, context.argument ?? 'HEAD')
  const startedMs = Date.now()
  const remote = await connectRemote(shell, settings)
  try {
    const { DOKKU_APP: app, DEPLOY_BRANCH: branch } = settings
    const plan = await preflight(checkout, remote, { app, branch, sha, log })
    if (flags.has('dry-run')) {
      context.print(`${describePlan(plan)}\nNothing was changed.`)
      return EXIT.done
    }
    log.info(describePlan(plan))
    await confirm(context, plan)
    const who = await whoDeploys(checkout, environment)
    const run: Run = { kind: 'deploy', settings, shell, log, checkout, remote, who, startedMs }
    const outcome = await goLive(run, plan)
    const runs = outcome === 'unchanged' ? 'runs already' : 'is deployed'
    const sync = (steps: Steps): Promise<boolean> =>
      steps.may('The server keeps the ops scripts it had', () => syncStep(context, remote, settings.OPS_DIR))
    return await finish(context, run, plan, { outcome, runs, settings, first: sync, verify: !flags.has('no-verify') })
  } finally {
    await remote.close()
  }
}

async function confirm({ interactive, ask }: Context, { commit, deployed, app }: Plan): Promise<void> {
  if (!interactive) return
  const what = deployed === commit.sha ? 'Sync, purge and verify.' : `This deploys ${shortSha(commit.sha)} to ${app}.`
  await ask.confirm(what, 'yes')
}

type Server = ReturnType<typeof readSettings<(typeof SERVER)[number]>>

async function withServer(
  context: Context,
  command: (context: Context, remote: Remote, settings: Server) => Promise<number>,
): Promise<number> {
  const settings = readSettings(SERVER, context.environment, context.envFile)
  const remote = await connectRemote(context.shell, settings)
  try {
    return await command(context, remote, settings)
  } finally {
    await remote.close()
  }
}

async function syncOnly(context: Context, remote: Remote, { OPS_DIR }: Server): Promise<number> {
  context.print(await syncStep(context, remote, OPS_DIR))
  return EXIT.done
}

async function purgeOnly(context: Context): Promise<number> {
  const settings = readSettings(CLOUDFLARE, context.environment, context.envFile)
  context.print(await purgeStep(context, settings))
  return EXIT.done
}

async function status({ print }: Context, remote: Remote, { DOKKU_APP, OPS_DIR }: Server): Promise<number> {
  print(describeStatus(await readStatus(remote, DOKKU_APP, OPS_DIR)))
  return EXIT.done
}

async function logs({ print, shell }: Context, remote: Remote, { DOKKU_APP }: Server): Promise<number> {
  const log = remote.startDokku(['logs', DOKKU_APP, '--tail'])
  let unread = false
  // `deploy --logs | head`: nobody reads on.
  process.stdout.once('error', () => {
    unread = true
    void log.stop()
  })
  for await (const line of lines(log)) print(line)
  const output = await log.ended
  shell.signal.throwIfAborted()
  if (unread) return EXIT.done
  const trouble = output.exitCode === 255 ? explainSsh(output.stderr, 'dokku', remote.host) : undefined
  if (output.exitCode !== 0) throw trouble ?? explainDokku(output, `logs ${DOKKU_APP}`, remote.host)
  return EXIT.done
}
