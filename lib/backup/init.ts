// `backup --init`: creates the Borg repository, and says how to keep its key safe.

import { initArgs } from '../borg/commands.ts'
import type { Context } from '../cli/main.ts'
import { EXIT } from '../core/failure.ts'
import { prepareBackup } from './backup.ts'
import { describeKeepsakes, keepsakes } from './keep-elsewhere.ts'

export async function init(context: Context): Promise<number> {
  const { borg } = prepareBackup(context)
  await borg.version()
  await borg.call(initArgs())
  context.print(`Created ${borg.repository} (repokey-blake2: its key is in it).

${describeKeepsakes(keepsakes(borg.repository, context.envFile.path))}

Next: backup --check`)
  return EXIT.done
}
