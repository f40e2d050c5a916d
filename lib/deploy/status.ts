// What `deploy --status` tells.

import { dirname } from 'node:path'
import { reason } from '../core/failure.ts'
import { lastLines, plural, printable } from '../core/format.ts'
import { aText, atBest, listOf, record, tryJson } from '../core/outside.ts'
import { shortSha } from '../core/sha.ts'
import type { Output } from '../core/shell.ts'
import { age, moment } from '../core/times.ts'
import { type Checkout, originAhead } from '../git/checkout.ts'
import { findDisagreement, isMisnamed } from '../server/agreement.ts'
import {
  deployBranch,
  describeRevision,
  isSilent,
  type Records,
  readRecords,
  type ServerState,
  serverState,
} from '../server/app.ts'
import { anArchiveName, type Entry, readLedger, wasCutOff, wentLive } from '../server/ledger.ts'
import type { Remote } from '../server/ssh.ts'
import { checkBackup, currentRelease } from '../server/words.ts'

interface Status extends ServerState, Records {
  app: string
  /** The name of the deploy branch. */
  branchName: string
  /** Days until the app's certificate on the server expires; undefined when it has none or does not say. */
  certificateDays: number | undefined
  deploys: Entry[]
  newestBackup: string
  /** The ops release there, or what is in its place. */
  opsRelease: string
  /** So many commits has the deploy branch on origin on top of what runs; undefined where this machine can't tell. */
  originAhead: number | undefined
}

/** `Mar  1 12:00:00 2026 GMT`, as openssl prints it. */
export function daysUntil(date: string, now = Date.now()): number | undefined {
  const then = Date.parse(date.trim())
  return Number.isNaN(then) ? undefined : Math.floor((then - now) / 86_400_000)
}

/** What a report of `backup --check --json` says of the archives. */
export interface BackupReport {
  /** The newest night, and the last run; without a report, what was said instead. */
  newest: string
  /** The newest restore point, and what was written since, if it can tell; undefined where there is none. */
  restorePoint?: string
  /** All that are there, newest first; undefined where the server does not tell. */
  archives?: readonly string[]
}

/**
 * The report is the last line: before it stands what the ops user's `.bashrc` prints, which bash reads for sshd.
 * @param app whose archives are wanted: the backup there may be that of another
 */
export function parseBackupReport({ stdout, stderr }: Pick<Output, 'stdout' | 'stderr'>, app: string): BackupReport {
  const report = tryJson(stdout.trim().split('\n').at(-1) ?? '', REPORT)
  if (!report) {
    const said = printable(lastLines(stderr))
    return { newest: said ? `unknown: ${said}` : 'unknown' }
  }
  const by = report.envFile === undefined ? '' : ` (settings: ${printable(report.envFile)})`
  if (report.app !== undefined && report.app !== app)
    return {
      newest: `none: the backup there is that of ${printable(report.app)}${by}, not of ${app}: docs/settings.md`,
    }
  const find = (wanted: string) => report.checks.find(({ name }) => name === wanted)
  // The report says no more than it could find out: without settings nothing of the repository.
  const check = find('newest archive') ?? find('repository') ?? find('settings')
  const detail = printable(check?.detail ?? '')
  const newest = !check ? 'unknown' : check.verdict === 'pass' ? detail : `${check.verdict}: ${detail}${by}`
  const [run, point, archives] = [find('last run'), find('restore point'), find('repository')?.archives]
  return {
    newest: run ? `${newest}; last run: ${printable(run.detail)}` : newest,
    ...(point ? { restorePoint: printable(point.detail) } : {}),
    ...(archives ? { archives } : {}),
  }
}

const REPORT = record({
  app: atBest(aText),
  envFile: atBest(aText),
  checks: listOf(record({ name: aText, verdict: aText, detail: aText, archives: atBest(listOf(anArchiveName)) })),
})

/**
 * Asks the server. What the app runs must be known; all else is told as far as it can be.
 * @param checkout the app's, if there is one here: what origin has is not asked of the server
 * @throws SshFailure, Failure
 */
export async function readStatus(
  remote: Remote,
  app: string,
  opsDir: string,
  checkout: Checkout | undefined,
): Promise<Status> {
  const [dokku, ops] = await Promise.all([dokkuStatus(remote, app), opsStatus(remote, app, opsDir)])
  const { revision, branchName } = dokku
  const isKnown = checkout && revision && !isMisnamed(revision, ops.deploys)
  const ahead = isKnown ? await originAhead(checkout, branchName, revision) : undefined
  return { app, ...dokku, ...ops, originAhead: ahead }
}

async function dokkuStatus(remote: Remote, app: string) {
  const release = await serverState(remote, app)
  const branchName = await deployBranch(remote, app)
  const records = await readRecords(remote, app, branchName)
  const certificate = await remote.dokku('certs:report APP --ssl-expires-at', app, { timeoutMs: 30_000 })
  return {
    ...release,
    ...records,
    branchName,
    certificateDays: daysUntil(certificate.exitCode === 0 ? certificate.stdout : ''),
  }
}

async function opsStatus(remote: Remote, app: string, opsDir: string) {
  try {
    const deploys = await readLedger(remote, opsDir)
    const current = await remote.shell(currentRelease(opsDir))
    const opsRelease = /^releases\/(\S+)$/m.exec(current.stdout)?.[1] ?? 'none: deploy --sync-only'
    return { deploys, opsRelease, newestBackup: withNext((await askBackup(remote, app, opsDir)).newest, opsDir) }
  } catch (error) {
    remote.signal.throwIfAborted()
    return { deploys: [], opsRelease: 'unknown', newestBackup: withNext(`unknown: ${reason(error)}`, opsDir) }
  }
}

/** What is not well, with the command that says more. */
function withNext(newest: string, opsDir: string): string {
  const look = `On the server: ${dirname(opsDir)}/backup --check`
  return /^(unknown|fail|warn)\b/.test(newest) ? `${newest.replace(/\.$/, '')}. ${look}` : newest
}

/** @throws SshFailure, and Failure when it takes longer than `timeoutMs` */
export async function askBackup(
  remote: Remote,
  app: string,
  opsDir: string,
  timeoutMs = 120_000,
): Promise<BackupReport> {
  return parseBackupReport(await remote.shell(checkBackup(opsDir), { timeoutMs }), app)
}

const SHOWN = 5

/** One line of the ledger for people. */
function entryText({ at, who, from, to, subject, kind, outcome, seconds, verified, notDone }: Entry): string {
  return [
    age(new Date(at)),
    printable(who),
    `${kind} ${from ? shortSha(from) : 'nothing'} → ${shortSha(to)} ${printable(subject)}`,
    outcome +
      (verified === null ? '' : verified ? ', verified' : ', NOT verified') +
      (notDone ? `, not done: ${printable(notDone.join(', '))}` : ''),
    `${seconds} s`,
  ].join(' · ')
}

/** How what runs came to run: by a deploy or a way back that went live. A run that was cut off may have done so all the same. */
function cameBy({ deploys, revision }: Status): Entry | undefined {
  const reached = deploys.filter(({ to }) => to === revision)
  return (
    reached.findLast((entry) => wentLive(entry) && entry.from !== entry.to) ??
    reached.findLast(wentLive) ??
    reached.findLast(wasCutOff)
  )
}

function releaseRows(status: Status, now: Date): [string, string][] {
  const { processes, running, locked, revision, branch, deploys, originAhead: ahead } = status
  const since = cameBy(status)
  const runs = isMisnamed(revision, deploys)
    ? `another release than ${shortSha(revision ?? '')}, whose build failed, and whose name it was restarted under`
    : isSilent(status)
      ? `unknown: the containers do not say; the deploy branch there is at ${shortSha(branch ?? '')}`
      : describeRevision(status)
  const disagreement = findDisagreement({ ...status, entries: deploys })
  return [
    [
      'runs',
      branch === undefined && revision === undefined
        ? 'nothing: it was never deployed'
        : `${runs} ${printable(since?.subject ?? '')}`.trim(),
    ],
    [
      'since',
      since
        ? `${moment(new Date(since.at), now)} (${age(new Date(since.at), now)}), by ${printable(since.who)}`
        : 'unknown: not in the ledger',
    ],
    ...(ahead === undefined
      ? []
      : ([
          ['origin', `${ahead === 0 ? 'at' : `${plural(ahead, 'commit')} ahead of`} what runs, as last fetched`],
        ] satisfies [string, string][])),
    [
      'processes',
      `${processes}${running ? '' : ' (NOT every process runs; to build and start them again: rollback --rebuild)'}`,
    ],
    ...(disagreement
      ? ([
          ['DISAGREE', disagreement.what],
          ['', `To make them agree${locked ? ', when no deploy is under way' : ''}: ${disagreement.fix}`],
        ] satisfies [string, string][])
      : []),
    ...(locked
      ? ([['deploy', 'one is under way, or failed or was cut off: its lock is there']] satisfies [string, string][])
      : []),
  ]
}

/** The same for machines; null is what is not known. */
export function statusJson(status: Status): unknown {
  const { app, revision, running, locked, branch, head, configured, certificateDays, deploys } = status
  const disagreement = findDisagreement({ ...status, entries: deploys })
  return {
    app,
    runs: revision ?? null,
    running,
    locked,
    branch: branch ?? null,
    head: head ?? null,
    configured: configured ?? null,
    disagreement: disagreement ?? null,
    originAhead: status.originAhead ?? null,
    certificateDays: certificateDays ?? null,
    newestBackup: status.newestBackup,
    opsRelease: status.opsRelease,
    deploys: deploys.slice(-SHOWN),
  }
}

/** Where the second column begins. */
export const STATUS_INDENT = 15

export function describeStatus(status: Status, now = new Date()): string {
  const { app, certificateDays, deploys, newestBackup, opsRelease } = status
  const rows: [string, string][] = [
    ...releaseRows(status, now),
    [
      'certificate',
      certificateDays === undefined
        ? 'unknown'
        : certificateDays < 0
          ? 'EXPIRED'
          : `${plural(certificateDays, 'day')} left`,
    ],
    ['backup', newestBackup],
    ['ops scripts', opsRelease],
  ]
  return [
    app,
    ...rows.map(([name, value]) => `  ${name.padEnd(STATUS_INDENT - 3)} ${value}`),
    ...(deploys.length > 0 ? ['last deploys'] : []),
    ...deploys
      .slice(-SHOWN)
      .reverse()
      .map((entry) => `  ${entryText(entry)}`),
  ].join('\n')
}
