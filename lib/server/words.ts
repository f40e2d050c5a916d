// Every word that these scripts say to the server over SSH. The gate of its SSH keys lets through these, and nothing else.

import { dirname } from 'node:path'
import { quote } from '../core/quote.ts'
import { isSha } from '../core/sha.ts'
import { syncWords } from './sync-script.ts'

/**
 * What is said to Dokku; APP stands for the app. Dokku 0.3x splits it with xargs, so these are plain words. The two functions below
 * make the others.
 */
export const DOKKU_WORDS = [
  'apps:exists APP',
  'apps:locked APP',
  'certs:report APP --ssl-expires-at',
  'config:get APP GIT_REV',
  'enter APP web printenv GIT_REV',
  'git:report APP --git-computed-deploy-branch',
  'git:report APP --git-deploy-branch',
  'git:report APP --git-sha',
  'logs APP --tail',
  'logs:failed APP',
  'ps:rebuild APP',
  'ps:report APP --format json',
] as const

/** Words that one of the two functions below has made; the second part is for the compiler, which holds to that. */
type MadeWords = string & { readonly madeIn: 'words.ts' }

export type DokkuWords = (typeof DOKKU_WORDS)[number] | MadeWords

/** Asks a web process, by its number, for the commit that it was made from. */
export function askRevision(number: number): MadeWords {
  return `enter APP web.${number} printenv GIT_REV` as MadeWords
}

/** Tells Dokku which commit it has, where it keeps the name of one whose deploy failed. Nothing is restarted. */
export function setRevision(sha: string): MadeWords {
  if (!isSha(sha)) throw new Error(`Not a commit: ${sha}`)
  return `config:set --no-restart APP GIT_REV=${sha}` as MadeWords
}

/** What git itself says to Dokku: for a push, and for fetch and ls-remote. An address with a port makes a path of the app's name. */
export const GIT_WORDS = [
  "git-receive-pack 'APP'",
  "git-receive-pack '/APP'",
  "git-upload-pack 'APP'",
  "git-upload-pack '/APP'",
] as const

/** @param app a name without blanks, quotes and wildcards, as the setting DOKKU_APP is */
export function withApp(words: string, app: string): string {
  return words.replace('APP', () => app)
}

/** A command for the ops user's shell. Only the functions below make one; the second part is for the compiler, which holds to that. */
export type OpsCommand = readonly string[] & { readonly madeIn: 'words.ts' }

function ops(...words: string[]): OpsCommand {
  return words as unknown as OpsCommand
}

/** How a gate ends when it does not let something through. Its words begin with "The gate of". */
export const GATE_REFUSES = 77

/** OPS_DIR/deploys.jsonl: a line for each deploy and rollback. */
export function ledgerPath(opsDir: string): string {
  return `${opsDir}/deploys.jsonl`
}

/**
 * Adds a line to the ledger. One short write to a file opened for appending: two writers don't mix.
 * @param line without newlines
 */
export function appendToLedger(opsDir: string, line: string): OpsCommand {
  const file = quote(ledgerPath(opsDir))
  // A line that a full disk cut is ended first: else this one would be lost with it.
  const end = `[ -z "$(tail -c 1 ${file} 2>/dev/null)" ] || echo`
  return ops('sh', '-c', `mkdir -p ${quote(opsDir)} && { ${end}; printf '%s\\n' "$1"; } >> ${file}`, 'ledger', line)
}

const MOST_ENTRIES = 200

/** Prints the newest lines of the ledger, none when there is no ledger yet. */
export function readLedgerLines(opsDir: string): OpsCommand {
  return ops('sh', '-c', `[ ! -e "$1" ] || tail -n ${MOST_ENTRIES} "$1"`, 'ledger', ledgerPath(opsDir))
}

/** Prints `releases/ID` of the ops scripts. */
export function currentRelease(opsDir: string): OpsCommand {
  return ops('readlink', `${opsDir}/current`)
}

/** Asks the launcher next to the ops folder. */
export function checkBackup(opsDir: string): OpsCommand {
  return ops(`${dirname(opsDir)}/backup`, '--check', '--json')
}

// ssh tells nobody there that this side is gone: the end of the input does, and ends the backup.
const RESTORE_POINT = [
  `[ -x "$1" ] || { echo '{"archive":null,"setUp":false}'; exit 2; }`,
  'exec 3<&0',
  'OPS_APP="$2" "$1" --restore-point "$3" --json </dev/null 3<&- & backup=$!',
  '{ read -r _ <&3; kill -TERM "$backup"; } >/dev/null 2>&1 & watch=$!',
  'wait "$backup"; status=$?',
  'kill "$watch"',
  'exit "$status"',
].join('\n')

/**
 * Takes a restore point through the launcher; it lives as long as its input.
 * @param app whose backup it must be: the launcher's settings may be those of another
 * @param label 8 hex digits: the commit that it is taken before
 */
export function takeRestorePoint(opsDir: string, app: string, label: string): OpsCommand {
  return ops('sh', '-c', RESTORE_POINT, 'restore-point', `${dirname(opsDir)}/backup`, app, label)
}

/** Starts a sync of the ops scripts. */
export function sync(opsDir: string, release: string, version: string): OpsCommand {
  return ops(...syncWords(opsDir), release, version)
}

/** What OpenSSH's `scp -O -r` says for several files. */
export function upload(folder: string): OpsCommand {
  return ops('scp', '-r', '-d', '-t', folder)
}
