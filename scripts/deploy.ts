// Deploys a commit of the app.

import type { Command } from '../lib/cli/arguments.ts'
import { type Context, main } from '../lib/cli/main.ts'
import { readSettings } from '../lib/cli/settings.ts'
import { EXIT } from '../lib/core/failure.ts'
import { wrap } from '../lib/core/layout.ts'
import { shortSha } from '../lib/core/sha.ts'
import { CLOUDFLARE_SETTINGS } from '../lib/deploy/cloudflare.ts'
import { withDeployment } from '../lib/deploy/deployment.ts'
import { finish, purgeStep, syncStep } from '../lib/deploy/finish.ts'
import { followLog } from '../lib/deploy/follow-log.ts'
import { gateScript } from '../lib/deploy/gate.ts'
import { goLive } from '../lib/deploy/go-live.ts'
import { overrule } from '../lib/deploy/objection.ts'
import { describePlan, type Plan } from '../lib/deploy/plan.ts'
import { preflight } from '../lib/deploy/preflight.ts'
import { describeRestorePoint, withRestorePoint } from '../lib/deploy/restore-point.ts'
import { showStatus } from '../lib/deploy/show-status.ts'
import { resolveCommit } from '../lib/git/checkout.ts'
import { withRemote } from '../lib/server/ssh.ts'

/** What is done instead of a deploy. */
const MODES: Record<string, (context: Context) => Promise<number>> = {
  'sync-only': syncOnly,
  'purge-only': purgeOnly,
  status: showStatus,
  logs: (context) => followLog(context, process.stdout),
  gate,
}
const MODE_FLAGS = Object.keys(MODES)

const COMMAND: Command = {
  name: 'deploy',
  argument: 'REF',
  switches: [...MODE_FLAGS, 'dry-run', 'no-restore-point', 'no-verify', 'yes', 'json'],
  options: ['repo'],
  exclusive: [
    [...MODE_FLAGS, 'dry-run'],
    ...MODE_FLAGS.flatMap((flag) => [
      [flag, 'no-verify'],
      [flag, 'no-restore-point'],
    ]),
  ],
  goesWith: { json: ['status'] },
  withoutArgument: MODE_FLAGS,
  help: `
Usage: deploy [REF] [--no-restore-point] [--no-verify] [--yes] [--repo DIR]
              [--env-file PATH]
       deploy [REF] --dry-run
       deploy --sync-only | --purge-only | --status | --logs | --gate

Pushes a commit (HEAD, or REF) to Dokku, syncs the ops scripts to the server,
purges Cloudflare's cache and verifies the site. Before a push with migrations the
server takes a restore point, an archive that brings the data back. At a terminal it
shows what will go live and asks first; without one, as in CI, it goes ahead. A commit
that is older than the deployed one must be typed at a terminal, whatever --yes says.

  --dry-run        Show what would go live, and everything that speaks against it.
  --sync-only      Only sync the ops scripts (backup, restore) to the server.
  --purge-only     Only purge the cache.
  --no-restore-point
                   Push migrations without one.
  --no-verify      Don't look at the site afterwards.
  --json           With --status: one JSON object.
  --status         What runs, since when, whose; processes, certificate, backup.
  --logs           Follow the app's log; Ctrl-C ends it.
  --gate           Print what restricts CI's SSH key on the server, and how.
  --yes            Don't ask.
  --repo DIR       The app's git checkout; else the current directory.
  --env-file PATH  Settings; else $OPS_ENV_FILE, else /home/deploy/.env.backup.
  --version, --help

Settings: DOKKU_HOST (required), DOKKU_APP, DEPLOY_BRANCH, DEPLOY_USER, OPS_DIR,
RESTORE_POINT, SITE_URL, CLOUDFLARE_ZONE_ID and CLOUDFLARE_API_TOKEN.

Exit status: 0 done, 1 failed, 2 usage or configuration error (nothing was
touched), 75 another deploy holds Dokku's lock, 129/130/143 interrupted.

Examples:
  deploy --dry-run     what would go live
  deploy               deploy HEAD
  deploy v1.4.2 --yes  deploy a tag without being asked
`,
}

await main(COMMAND, (context) => {
  const flag = MODE_FLAGS.find((flag) => context.flags.has(flag))
  return (MODES[flag ?? ''] ?? deploy)(context)
})

function deploy(context: Context): Promise<number> {
  return withDeployment(context, 'deploy', async (deployment) => {
    const sha = await resolveCommit(deployment.checkout, context.argument ?? 'HEAD')
    const { plan, objection } = await preflight(deployment, sha)
    const text = [describePlan(deployment, plan), ...describeRestorePoint(deployment, plan)].join('\n')
    if (context.flags.has('dry-run')) {
      context.print(wrap(`${text}\nNothing was changed.`, context.log.resultColumns))
      if (objection)
        context.log.warn(`${objection.why} Without a terminal it is not deployed, and at one only when it is typed.`)
      return EXIT.done
    }
    context.log.info(text)
    if (objection) await overrule(deployment, objection, sha)
    else if (context.interactive) await context.ask.confirm(whatFollows(plan, deployment.app), 'yes')
    const ready = await withRestorePoint(deployment, plan)
    return finish(deployment, ready, await goLive(deployment, ready))
  })
}

function whatFollows({ commit, deployed }: Plan, app: string): string {
  return deployed === commit.sha ? 'Sync, purge and verify.' : `This deploys ${shortSha(commit.sha)} to ${app}.`
}

function syncOnly(context: Context): Promise<number> {
  return withRemote(context, ['OPS_DIR'], async (remote, { OPS_DIR }) => {
    context.print(await syncStep(context, remote, OPS_DIR))
    return EXIT.done
  })
}

async function purgeOnly(context: Context): Promise<number> {
  const settings = readSettings(CLOUDFLARE_SETTINGS, context.environment, context.envFile)
  context.print(await purgeStep(context, settings))
  return EXIT.done
}

async function gate({ environment, envFile, print }: Context): Promise<number> {
  print(gateScript(readSettings(['DOKKU_APP', 'DEPLOY_USER', 'OPS_DIR'], environment, envFile)))
  return EXIT.done
}
