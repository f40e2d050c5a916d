// `backup --accept`: somebody says that what is there now is right, although the archives held more.

import { describeSound } from '../borg/losses.ts'
import type { Backup } from './backup.ts'
import { lackingNow, type Tonight } from './tonight.ts'

/**
 * Says what is accepted, and asks.
 * @returns false when there is nothing to accept
 * @throws Failure when the answer is no
 */
export async function agree({ context, settings }: Backup, tonight: Tonight): Promise<boolean> {
  const lacks = lackingNow(tonight)
  if (lacks.length === 0) {
    const { compared, media } = tonight
    context.print(
      `There is nothing to accept: ${compared.length > 0 ? describeSound({ mediaFiles: media?.files }, compared) : 'there is no archive yet'}.`,
    )
    return false
  }
  const question = [
    'The archives hold more than is there now:',
    ...lacks.map((lack) => `  ${lack}`),
    `If you accept this, an archive of ${settings.DOKKU_APP} as it is now is stored, and the nights are compared with that.`,
    'Pruning goes on, too: in time no archive holds what is lacking.',
  ].join('\n')
  if (context.flags.has('yes')) context.log.info(question)
  await context.ask.confirm(question, 'accept')
  return true
}
