// What a run works with besides production, and what becomes of it when the run ends.

import { reason } from '../core/failure.ts'
import type { Log } from '../core/log.ts'
import type { Service } from '../dokku/dokku.ts'
import { clearRestoring } from '../postgres/scratch.ts'
import { restoringOf } from '../postgres/swap.ts'
import type { TestService } from '../postgres/test-service.ts'
import type { Restore } from './restore.ts'

/** Removes the test service; if it can't be removed, that is left to the next run. */
export function discardTest({ context }: Restore, test: TestService): Promise<void> {
  return orLater(context.log, `The test service ${test.name}`, test.remove)
}

/** Removes the database beside production, the same way, and ends what is at work in it. */
export function discardRestoring({ dokku, context }: Restore, production: Service): Promise<void> {
  return orLater(context.log, `The database ${restoringOf(production).database}`, () =>
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
