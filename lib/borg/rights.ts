// Whether the repository's machine lets this key delete what is stored, asked without trying it.

import type { Borg } from './borg.ts'
import { failingArgs } from './commands.ts'
import type { Message } from './output.ts'

/**
 * What the key may do with the archives that are there.
 * `append`: add to them, and no more. `delete`: `borg serve` runs without --append-only. `shell`: the key opens a shell there.
 * `folder`: the repository is a folder of this machine. `untold`: the other machine does not say.
 */
export type Rights = 'append' | 'delete' | 'shell' | 'folder' | 'untold'

/** `ssh://user@host/path`, `user@host:path` or `host:path`; anything else is a path here. */
export function isRemote(repository: string): boolean {
  return /^(ssh:\/\/|[^/]+:)/.test(repository)
}

/**
 * Borg has no question for this. But a server that fails in a way it did not expect says, as a help for whoever reports a bug,
 * how it was started (Borg 1.2.4 and 1.4.1, each as client of each). So it is asked for a name that no file system takes.
 */
export async function askRights(borg: Borg): Promise<Rights> {
  if (!isRemote(borg.repository)) return 'folder'
  return parseRights(await borg.say(failingArgs(borg.repository)))
}

/** Pure: out of all that Borg said. A server that serves only a repository named exactly refuses before it says anything. */
export function parseRights(messages: readonly Message[]): Rights {
  const said = messages.map(({ message }) => message).join('\n')
  const command = /^Borg server: sys\.argv: \[(.*)\]$/m.exec(said)?.[1]
  if (command === undefined) return 'untold'
  if (command.includes("'--append-only'")) return 'append'
  // A command that sshd enforces finds the one that was asked for in its environment.
  return /^Borg server: SSH_ORIGINAL_COMMAND: None$/m.test(said) ? 'shell' : 'delete'
}
