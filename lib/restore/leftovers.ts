// What a run works with besides production: cleared before it begins, removed when it ends.

import { reason } from '../core/failure.ts'
import type { Log } from '../core/log.ts'
import type { Service } from '../dokku/dokku.ts'
import { clearRestoring } from '../postgres/scratch.ts'
import { endStraySwap, restoringName } from '../postgres/swap.ts'
import { reserveTestService, type TestService } from '../postgres/test-service.ts'
import type { Restore } from './restore.ts'

/** Clears what a killed run left of either kind. From now on the test service is this run's. */
export async function clearLeftovers(restore: Restore, production: Service): Promise<TestService> {
  const { context, dokku } = restore
  await endStraySwap(dokku, production, context.log)
  const test = await reserveTestService(restore)
  await clearRestoring(dokku, production, context.log)
  return test
}

/** Removes the test service; if it can't be removed, that is left to the next run. */
export function discardTest({ context }: Restore, test: TestService): Promise<void> {
  return orLater(context.log, `The test service ${test.name}`, test.remove)
}

/** Removes the copy beside production, the same way. */
export function discardCopy({ dokku, context }: Restore, production: Service): Promise<void> {
  return orLater(context.log, `The database ${restoringName(production.database)}`, () =>
    clearRestoring(dokku.lasting, production, { ...context.log, info: () => {} }),
  )
}

async function orLater(log: Log, what: string, remove: () => Promise<void>): Promise<void> {
  try {
    await remove()
  } catch (error) {
    log.warn(`${what} could not be removed; the next restore will do it: ${reason(error)}`)
  }
}
