// How Borg ended: what its warnings mean, and the failure behind an error, with the next command to type.

import { Failure } from '../core/failure.ts'
import { type Output, quoteAll } from '../core/shell.ts'
import type { Message } from './output.ts'

/**
 * Whether Borg's exit 1 really is a warning. A pattern that Borg refuses ends with 1 as well, after a traceback. A path
 * that an extract does not find is only a warning to Borg (1.2.4): who needs the file must look whether it is there.
 */
export function isWarningOnly(messages: readonly Message[]): boolean {
  return !messages.some(
    ({ levelname, message }) => levelname === 'ERROR' || levelname === 'CRITICAL' || message.startsWith('Traceback'),
  )
}

/** What `borg create` warned about, by what follows from it. */
export interface CreateWarnings {
  /** Files that are not in the archive although they are on the disk: the backup has a hole. */
  unreadable: string[]
  /** Everything else (a file changed while it was read, or was deleted meanwhile): shown, and the archive is good. */
  harmless: string[]
}

/** @param messages all that a create said */
export function sortWarnings(messages: readonly Message[]): CreateWarnings {
  const sorted: CreateWarnings = { unreadable: [], harmless: [] }
  for (const { levelname, msgid, message } of messages) {
    if (levelname !== 'WARNING' || message.startsWith('Remote:')) continue
    const vanished = /\[Errno 2\]/.test(message) || msgid === 'BackupFileNotFoundError'
    // Borg 1.2 gives no msgid here, only `PATH: open: [Errno 13] Permission denied: 'NAME'`.
    const failed = /\[Errno \d+\]/.test(message) || /^Backup\w*Error$/.test(msgid ?? '')
    if (failed && !vanished) sorted.unreadable.push(message)
    else sorted.harmless.push(message)
  }
  return sorted
}

interface Cause {
  /** The last part of the msgid (remote repositories of Borg 1.2 leave out the class), or a pattern of the text. */
  when: (id: string, text: string) => boolean
  says: (text: string) => string
  next: (borg: (command: string) => string) => string
}

function isOneOf(...ids: string[]) {
  return (id: string): boolean => ids.includes(id)
}

const CAUSES: Cause[] = [
  {
    when: (id, text) => id === 'StorageQuotaExceeded' || /Disk quota exceeded|storage quota/i.test(text),
    says: () => 'The storage quota of the Borg repository is used up.',
    next: (borg) => `Raise the quota at the storage provider, or make room: ${borg('borg compact')}`,
  },
  {
    when: (id, text) => id === 'InsufficientFreeSpaceError' || /No space left on device/.test(text),
    says: () => 'The disk is full: the repository, or the Borg cache of this user.',
    next: () => 'See which: df -h ~/.cache/borg, and the storage of the repository.',
  },
  {
    when: isOneOf('LockTimeout', 'LockError', 'LockErrorT', 'LockFailed', 'NotLocked', 'NotMyLock'),
    says: (text) => `The Borg repository is locked by another run: ${text}`,
    next: (borg) => `See who: pgrep -af borg. Only if nothing runs on any machine: ${borg('borg break-lock')}`,
  },
  {
    when: isOneOf('PassphraseWrong', 'PasswordRetriesExceeded'),
    says: () => 'The passphrase of the Borg repository is wrong.',
    next: () => 'Compare BORG_PASSPHRASE (or what BORG_PASSCOMMAND prints) with the one kept with the key.',
  },
  {
    when: isOneOf('NoPassphraseFailure', 'PasscommandFailure'),
    says: () => 'Borg could not get the passphrase: BORG_PASSCOMMAND failed.',
    next: () => 'Run that command by hand, as this user.',
  },
  {
    when: isOneOf('RepositoryAccessAborted', 'RepositoryIDNotUnique', 'RepositoryReplay', 'EncryptionMethodMismatch'),
    says: () => 'The Borg repository was moved, or is not the one used before: Borg asks before it trusts it.',
    next: (borg) => `Only if you moved it yourself: ${borg('BORG_RELOCATED_REPO_ACCESS_IS_OK=yes borg list')}`,
  },
  {
    when: (id, text) => /^(Connection\w*)$/.test(id) || /Connection (closed|broken)/.test(text),
    says: (text) => `The Borg repository can't be reached: ${text}`,
    next: (borg) => `Try the connection: ${borg('borg info')} (the SSH key is that of the user who runs this).`,
  },
  {
    when: (id, text) =>
      isOneOf('InvalidRepository', 'ParentPathDoesNotExist')(id) || (id === 'DoesNotExist' && /repository/i.test(text)),
    says: () => 'The Borg repository does not exist.',
    next: () => 'Check BORG_REPO. To create it: backup --init',
  },
  {
    when: (id, text) => id === 'DoesNotExist' && /archive/i.test(text),
    says: (text) => text,
    next: () => 'See the archives: restore --list',
  },
  {
    when: isOneOf('AlreadyExists', 'PathAlreadyExists'),
    says: (text) => text,
    next: () => 'Nothing was changed. See: backup --check',
  },
  {
    when: isOneOf('KeyfileNotFoundError', 'RepoKeyNotFoundError', 'KeyfileInvalidError', 'KeyfileMismatchError'),
    says: () => 'The key of the Borg repository is missing or damaged.',
    next: (borg) => `Import the one you exported: ${borg('borg key import :: KEYFILE')}`,
  },
  {
    when: isOneOf('IntegrityError', 'IntegrityErrorBase', 'CheckNeeded', 'ObjectNotFound', 'InvalidRepositoryConfig'),
    says: (text) => `The Borg repository is damaged: ${text}`,
    next: (borg) => `Look before you repair: ${borg('borg check --verify-data')}`,
  },
  {
    when: (_, text) => /not found|No such file/.test(text) && /borg/.test(text),
    says: () => 'Borg is not installed.',
    next: () => 'Install it: sudo apt-get install borgbackup',
  },
]

/** ssh refuses a machine that this user has not agreed to once, or that shows another key than then. */
function explainHostKey(said: string, repository: string): Failure {
  const compare = "Compare the fingerprint that it shows with the provider's page"
  return /IDENTIFICATION HAS CHANGED/.test(said)
    ? new Failure(
        `The host key of the Borg repository's machine is not the one that is known here: it was set up anew, or this is another machine. (${repository})`,
        `Nothing was sent. ${compare}: ${sshCommand(repository)}. Only if they agree, take the old one away with the command that ssh names, and connect once more.`,
      )
    : new Failure(
        `The host key of the Borg repository's machine is not known to this user. (${repository})`,
        `Connect once, as this user: ${sshCommand(repository)}. ${compare}; only if they agree, answer yes.`,
      )
}

/** Connects to the machine of a repository: `ssh://USER@HOST:PORT/PATH` or `USER@HOST:PATH`. */
function sshCommand(repository: string): string {
  if (!repository.startsWith('ssh://') || !URL.canParse(repository))
    return quoteAll(['ssh', repository.split(':')[0] ?? ''])
  const { username, hostname, port } = new URL(repository)
  return quoteAll(['ssh', ...(port ? ['-p', port] : []), username ? `${username}@${hostname}` : hostname])
}

/** The failure behind a Borg call that did not end well: the cause by its msgid, and the next command to type. */
export function explain(output: Output, messages: readonly Message[], repository: string, envFile: string): Failure {
  const remote = messages
    .filter(({ message }) => message.startsWith('Remote:'))
    .map(({ message }) => message.replace(/^Remote:\s*/, ''))
  const errors = messages.filter(({ levelname }) => levelname === 'ERROR' || levelname === 'CRITICAL')
  const all = messages.map(({ message }) => message).join('\n')
  const borg = (command: string): string => `(set -a; . ${envFile}; ${command})`
  if (/Host key verification failed|host key is known for/.test(all)) return explainHostKey(all, repository)
  for (const { msgid = '', message } of [...errors, { message: all }]) {
    const id = msgid.split('.').at(-1) ?? ''
    const cause = CAUSES.find(({ when }) => when(id, message))
    if (!cause) continue
    const text = [...remote, message.split('\n')[0]].join('; ')
    return new Failure(`${cause.says(text)} (${repository})`, cause.next(borg))
  }
  const how = output.signal ? `was ended by ${output.signal}` : `failed with exit status ${output.exitCode}`
  const last = (errors.at(-1)?.message ?? all).trim().split('\n').at(-1) ?? ''
  return new Failure(`Borg ${how}: ${last || 'it said nothing'}`, `Look at the repository: ${borg('borg info')}`)
}
