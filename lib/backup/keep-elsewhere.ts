// What must be kept away from this machine, so that the archives are worth something on the day it is gone.

import { quote } from '../core/quote.ts'

/** Something to keep, and the command that shows or makes it. */
interface Keepsake {
  what: string
  command: string
}

/** @param repository as BORG_REPO has it */
export function keepsakes(repository: string, envFile: string): Keepsake[] {
  const file = quote(envFile)
  const isFar = /^[^/:]+:/.test(repository)
  return [
    { what: 'the key of the repository', command: `(set -a; . ${file}; borg key export --paper)` },
    { what: 'its passphrase, or what prints it', command: `grep BORG_PASS ${file}` },
    { what: 'its address', command: `grep BORG_REPO ${file}` },
    isFar
      ? {
          what: "the login at the storage provider: a new machine's SSH key is added there",
          command: "ssh-keygen -t ed25519 -N '' -f ~/.ssh/id_ed25519; cat ~/.ssh/id_ed25519.pub",
        }
      : { what: 'a copy of the repository: it is a folder of this machine', command: `ls -d ${quote(repository)}` },
  ]
}

/** For the end of a page. */
export function describeKeepsakes(all: readonly Keepsake[]): string {
  return [
    'Keep elsewhere, on paper or in a password manager, not on this machine. With these alone the archives bring a lost server back (docs/new-server.md); without key AND passphrase no archive can ever be read again:',
    ...all.map(({ what, command }) => `  ${what}\n    ${command}`),
  ].join('\n')
}
