// What a run works with besides production, and what becomes of it when the run ends.

import { SO } from '../cli/closing.ts'
import { reason } from '../core/failure.ts'
import type { Log } from '../core/log.ts'
import type { Service } from '../dokku/dokku.ts'
import { clearRestoring } from '../postgres/scratch.ts'
import { restoringOf } from '../postgres/swap.ts'
import type { TestService } from '../postgres/test-service.ts'
import type { Restore } from './restore.ts'

/** Removes the test service; if it can't be removed, that is left to the next run. */
export async function discardTest({ context }: Restore, test: TestService): Promise<void> {
  if (await orLater(context.log, `The test service ${test.name}`, test.remove))
    context.closing.so('beside', SO.testRemoved(test.name))
}

/** Removes the database beside production, if it was begun, the same way, and ends what is at work in it. */
export async function discardRestoring({ dokku, context }: Restore, production: Service): Promise<void> {
  if (!context.closing.tells('beside')) return
  const { database } = restoringOf(production)
  const remove = (): Promise<void> => clearRestoring(dokku.lasting, production, { ...context.log, info: () => {} })
  if (await orLater(context.log, `The database ${database}`, remove))
    context.closing.so('beside', SO.besideRemoved(database))
}

/** @returns whether it is gone */
async function orLater(log: Log, what: string, remove: () => Promise<void>): Promise<boolean> {
  try {
    await remove()
    return true
  } catch (error) {
    log.warn(`${what} could not be removed; the next restore will do it: ${reason(error)}`)
    return false
  }
}
