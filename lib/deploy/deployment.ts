// What the steps of a deploy and of a rollback work with.

import { SO } from '../cli/closing.ts'
import type { Context } from '../cli/main.ts'
import type { Settings } from '../cli/settings.ts'
import { type Checkout, openCheckout, whoDeploys } from '../git/checkout.ts'
import type { Entry } from '../server/ledger.ts'
import { type Remote, withRemote } from '../server/ssh.ts'
import { CLOUDFLARE_SETTINGS, type CloudflareSettings } from './cloudflare.ts'

/** A deploy, or one of the three ways back. */
export interface Deployment {
  /** What the ledger calls it. */
  kind: Entry['kind']
  context: Context
  settings: Settings<'OPS_DIR' | 'SITE_URL' | 'RESTORE_POINT'> & CloudflareSettings
  checkout: Checkout
  remote: Remote
  app: string
  /** The branch whose pushes Dokku deploys. */
  branch: string
  who: string
  /** When it began, as of `performance.now()`: a clock that is set meanwhile makes it no longer or shorter. */
  startedMs: number
}

const SETTINGS = ['DOKKU_APP', 'DEPLOY_BRANCH', 'OPS_DIR', 'SITE_URL', 'RESTORE_POINT', ...CLOUDFLARE_SETTINGS] as const

/**
 * Opens what a deployment needs, and closes the connections when it has ended. Nothing is connected before the first question.
 * @throws Failure (exit status 2) when the settings or the checkout are wrong
 */
export function withDeployment(
  context: Context,
  kind: Deployment['kind'],
  work: (deployment: Deployment) => Promise<number>,
): Promise<number> {
  return withRemote(context, SETTINGS, async (remote, { DOKKU_APP: app, DEPLOY_BRANCH: branch, ...settings }) => {
    context.closing.so('production', SO.notPushed)
    const checkout = await openCheckout(context.shell, context.values.repo ?? process.cwd())
    const who = await whoDeploys(checkout, context.environment)
    return work({ kind, context, settings, checkout, remote, app, branch, who, startedMs: performance.now() })
  })
}
