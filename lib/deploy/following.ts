// What follows when a release runs, and how a run that ends before says what of it was not done.

import { SO } from '../cli/closing.ts'
import { shortSha } from '../core/sha.ts'
import type { Deployment } from './deployment.ts'

type FollowingStep = 'sync' | 'purge' | 'verify'

/** The steps that are still to be done; the run's closing words name them, whichever way it ends. */
interface Following {
  /** The step was done, or has said itself what is wrong. */
  done(step: FollowingStep): void
  left(): FollowingStep[]
}

/** @param sha what runs */
export function createFollowing(deployment: Deployment, sha: string): Following {
  const { kind, context, settings } = deployment
  const words: Record<FollowingStep, readonly [step: string, command: string]> = {
    sync: ['the sync of the ops scripts', 'deploy --sync-only'],
    purge: ['the purge of the cache', 'deploy --purge-only'],
    verify: ['the verification', `verify --expect-sha ${shortSha(sha)}`],
  }
  const left = new Set<FollowingStep>()
  // A way back leaves the ops scripts as they are: they are of another repository than the app.
  if (kind === 'deploy') left.add('sync')
  if (settings.CLOUDFLARE_ZONE_ID) left.add('purge')
  if (!context.flags.has('no-verify')) left.add('verify')
  const tell = (): void => context.closing.so('steps', SO.notDone([...left].map((step) => words[step])))
  tell()
  return {
    done: (step) => {
      left.delete(step)
      tell()
    },
    left: () => [...left],
  }
}
