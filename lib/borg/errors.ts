// How Borg ended: what its warnings mean, and the failure behind an error, with the next command to type.

import { Failure } from '../core/failure.ts'
import { quote, quoteAll } from '../core/quote.ts'
import type { Output } from '../core/shell.ts'
import type { Message } from './output.ts'

/** The repository can't be used for now: it can't be reached, or another run has locked it. It may go by itself. */
export class Unavailable extends Failure {}

/** There is no repository where BORG_REPO says: a typo, most often. */
export class NoRepository extends Failure {}

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
  /** Gets the first line of the error's words. */
  says: (line: string, found: Found) => string
  next: (borg: (command: string) => string, found: Found) => string
  /** Whether it may go by itself. */
  passes?: (id: string, found: Found) => boolean
  /** Nothing is where the repository should be. */
  isMissing?: true
}

/** What there is to explain. */
interface Found {
  repository: string
  /** The error's own words. */
  text: string
  /** What ssh and the machine of the repository printed. */
  remote: readonly string[]
}

function isOneOf(...ids: string[]) {
  return (id: string): boolean => ids.includes(id)
}

const CAUSES: Cause[] = [
  {
    when: (id, text) => id === 'StorageQuotaExceeded' || /Disk quota exceeded|storage quota/i.test(text),
    says: (text) => `The storage quota of the Borg repository is used up${usedOf(text)}.`,
    // Compacting alone frees only what was deleted before; a night that can't store prunes nothing.
    next: (borg) =>
      [
        'Raise the quota at the storage provider. Or delete archives that you can spare, and compact:',
        '  restore --list',
        `  ${borg('borg delete ::ARCHIVE && borg compact')}`,
      ].join('\n'),
  },
  {
    when: (id, text) => id === 'InsufficientFreeSpaceError' || /No space left on device/.test(text),
    says: (text) => `The disk is full: the repository, or the Borg cache of this user (${text}).`,
    next: () => 'See which: df -h ~/.cache/borg, and the storage of the repository.',
  },
  {
    when: (_, text) => NOT_ALLOWED.test(text),
    says: (text) => `Borg may not use ${forbiddenPath(text)}: it belongs to another user. Was Borg run with sudo?`,
    next: (_, { text, repository }) => {
      const path = forbiddenPath(text)
      const folder = OWN_FOLDER.exec(path)?.[0] ?? (path.startsWith(`${repository}/`) ? repository : undefined)
      return folder === undefined
        ? `See whose it is: ls -ld ${quote(path)}`
        : `Type: sudo chown -R ${process.geteuid?.()}:${process.getegid?.()} ${quote(folder)}`
    },
  },
  {
    when: isOneOf('LockTimeout', 'LockError', 'LockErrorT', 'LockFailed', 'NotLocked', 'NotMyLock'),
    says: (text) => `The Borg repository is locked by another run: ${text}`,
    next: (borg) => `See who: pgrep -af borg. Only if nothing runs on any machine: ${borg('borg break-lock')}`,
    passes: isOneOf('LockTimeout'),
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
    when: isOneOf('UnexpectedRPCDataFormatFromServer'),
    says: (_, { text }) =>
      `The machine of the Borg repository prints something where Borg has to speak: ${text.split('\n').slice(1).join(' ')}`,
    next: (borg, { repository }) =>
      `Whatever a login prints there (.bashrc, .profile), let it print only at a terminal. See it: ${borg(`\${BORG_RSH:-ssh} ${addressOf(repository)} true < /dev/null`)}`,
  },
  {
    when: (id, text) =>
      /^(Connection\w*)$/.test(id) || /Connection (closed|broken)|^(BrokenPipe|ConnectionReset)Error\b/.test(text),
    says: (text, { remote }) => `The Borg repository can't be reached: ${whyUnreachable(text, remote)}`,
    next: (borg) => `Try the connection: ${borg('borg info')} (the SSH key is that of the user who runs this).`,
    passes: (_, { remote }) => !remote.some((line) => SSH_REFUSES.test(line)),
  },
  {
    when: (id, text) =>
      isOneOf('InvalidRepository', 'ParentPathDoesNotExist')(id) || (id === 'DoesNotExist' && /repository/i.test(text)),
    says: () => 'The Borg repository does not exist.',
    next: () => 'Check BORG_REPO for a typo.',
    isMissing: true,
  },
  {
    when: isOneOf('PathNotAllowed'),
    says: (line) => `This key may not use that repository: ${line}`,
    next: () => 'Check BORG_REPO, and the path that authorized_keys restricts the key to on that machine.',
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
]

/** ` (12.06 MB of 10.00 MB)`; nothing where a file system's quota tells no figures. */
function usedOf(text: string): string {
  const [, quota, used] = /quota \(([^()]+)\) has been exceeded \(([^()]+)\)/.exec(text) ?? []
  return used === undefined ? '' : `: this would make it ${used} of ${quota}`
}

const NOT_ALLOWED = /\[Errno 13\] Permission denied: '([^']+)'/
/** What belongs to Borg alone, and to this user. */
const OWN_FOLDER = /^.*?\/\.(cache|config)\/borg(?=\/|$)/

function forbiddenPath(text: string): string {
  return NOT_ALLOWED.exec(text)?.[1] ?? ''
}

/** What ssh, or a shell that has no Borg, says of its own failure. */
const SSH_SAYS =
  /^ssh: |^kex_exchange_identification|^Connection (closed|reset|timed out)|^(Host key verification failed|Too many authentication failures|Timeout, server|client_loop|Bad owner or permissions|Received disconnect|Load key)|Permission denied \(|(command )?not found$|No such file or directory$/

/** Of these, what no wait changes. */
const SSH_REFUSES =
  /^(Host key verification failed|Too many authentication failures|Bad owner or permissions|Load key)|Permission denied \(|(command )?not found$|No such file or directory$/

/** A greeting comes before the error, or alone: it is told, but not as the reason. */
function whyUnreachable(text: string, remote: readonly string[]): string {
  const reasons = remote.filter((line) => SSH_SAYS.test(line))
  if (reasons.length > 0) return [...reasons, text].join('; ')
  return remote.length > 0 ? `${text} (that machine printed: ${remote.slice(-3).join('; ')})` : text
}

/**
 * An error's own words. A traceback says last what it is, on a line that is not indented; behind that Borg tells of its
 * machine and its arguments.
 */
function ownWords(message: string): string {
  const [, trace] = /Traceback \(most recent call last\):\n(.*)/s.exec(message) ?? []
  if (trace === undefined) return message.trim()
  // Of several the first one counts: what came of it, while Borg ended, is told behind it.
  const own = trace
    .split(/^(?:(?:Borg server: )?Platform: |During handling of the above|The above exception)/m, 1)[0]
    ?.match(/^\S.*/gm)
  return own?.at(-1)?.replace(/^borg\.\w+\./, '') ?? message.trim()
}

/** `Local Exception` announces a traceback, and what Borg tells of its machine follows one: neither is an error of its own. */
function isError({ levelname, message }: Message): boolean {
  return (
    (levelname === 'ERROR' || levelname === 'CRITICAL') &&
    !/^((Local|Remote) Exception\.?$|(Borg server: )?Platform: )/.test(message)
  )
}

/** ssh refuses a machine that this user has not agreed to once, or that shows another key than then. */
function explainHostKey(said: string, repository: string): Failure {
  const compare = "Compare the fingerprint that it shows with the provider's page"
  return /IDENTIFICATION HAS CHANGED/.test(said)
    ? new Failure(
        `The host key of the Borg repository's machine is not the one that is known here: it was set up anew, or this is another machine. (${repository})`,
        `Nothing was sent. ${compare}: ssh ${addressOf(repository)}. Only if they agree, take the old one away with the command that ssh names, and connect once more.`,
      )
    : new Failure(
        `The host key of the Borg repository's machine is not known to this user. (${repository})`,
        `Connect once, as this user: ssh ${addressOf(repository)}. ${compare}; only if they agree, answer yes.`,
      )
}

/** What ssh is given for `ssh://USER@HOST:PORT/PATH` or `USER@HOST:PATH`. */
function addressOf(repository: string): string {
  if (!repository.startsWith('ssh://') || !URL.canParse(repository)) return quote(repository.split(':')[0] ?? '')
  const { username, hostname, port } = new URL(repository)
  return quoteAll([...(port ? ['-p', port] : []), username ? `${username}@${hostname}` : hostname])
}

/** The failure behind a Borg call that did not end well: the cause by its msgid, and the next command to type. */
export function explain(output: Output, messages: readonly Message[], repository: string, envFile: string): Failure {
  if (output.exitCode === 127 && output.stdout === '')
    return new Failure('Borg is not installed.', 'Install it: sudo apt-get install borgbackup')
  const remote = messages.flatMap(({ message }) => /^Remote:\s*(.+)/s.exec(message)?.[1]?.trim() ?? [])
  const errors = messages.filter(isError)
  const all = messages.map(({ message }) => message).join('\n')
  const borg = (command: string): string => `(set -a; . ${quote(envFile)}; ${command})`
  if (/Host key verification failed|host key is known for/.test(all)) return explainHostKey(all, repository)
  for (const { msgid = '', message } of [...errors, { message: all }]) {
    const id = msgid.split('.').at(-1) ?? ''
    const found = { repository, text: ownWords(message), remote }
    const cause = CAUSES.find(({ when }) => when(id, found.text))
    const [line = ''] = found.text.split('\n')
    if (cause) {
      const Kind = cause.isMissing ? NoRepository : cause.passes?.(id, found) ? Unavailable : Failure
      return new Kind(`${cause.says(line, found)} (${repository})`, cause.next(borg, found))
    }
  }
  const how = output.signal ? `was ended by ${output.signal}` : `failed with exit status ${output.exitCode}`
  // The first error is the cause; what Borg sums up at its end is not.
  const cause = ownWords(errors[0]?.message ?? all)
    .split('\n')
    .at(-1)
  return new Failure(`Borg ${how}: ${cause || 'it said nothing'}`, `Look at the repository: ${borg('borg info')}`)
}
