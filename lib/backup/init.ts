// `backup --init`: creates the Borg repository, and says how to keep its key safe.

import { initArgs } from '../borg/commands.ts'
import type { Context } from '../cli/main.ts'
import { EXIT } from '../core/failure.ts'
import { quote } from '../core/shell.ts'
import { prepareBackup } from './backup.ts'

export async function init(context: Context): Promise<number> {
  const { borg } = prepareBackup(context)
  await borg.version()
  await borg.call(initArgs())
  context.print(`Created ${borg.repository} (repokey-blake2).

Without its key AND its passphrase no archive can ever be read again. The key is in the
repository: keep a copy elsewhere, and the passphrase with it, on paper or in a password
manager, not on this machine:

  (set -a; . ${quote(context.envFile.path)}; borg key export --paper)

Next: backup --check`)
  return EXIT.done
}
