// `backup --history`: the last runs of this machine, how they grow, and when the repository will be full at this pace.

import { statfs } from 'node:fs/promises'
import { quotaArgs } from '../borg/commands.ts'
import { parseSize } from '../borg/output.ts'
import { isRemote } from '../borg/rights.ts'
import { type JournalEntry, readJournal } from '../cli/journal.ts'
import type { Context } from '../cli/main.ts'
import { EXIT, Failure } from '../core/failure.ts'
import { bytes, duration, plural, printable } from '../core/format.ts'
import { table } from '../core/layout.ts'
import { age, day, isoLocal, moment, zoneOf } from '../core/times.ts'
import { type Backup, prepareBackup } from './backup.ts'
import { A_NIGHT, type CheckLine, pass, warn } from './check-line.ts'

const SHOWN = 30

/** Where the repository ends, and when that is at this pace. */
interface Limit {
  what: 'quota' | 'disk'
  freeBytes: number
  /** Undefined when it does not grow, or that is not known. */
  fullAt?: Date
}

interface Trend {
  /** Of so many nights. */
  nights: number
  /** A day. */
  originalBytes: number
  newBytes: number
  /** Undefined when the repository's size is not told. */
  repositoryBytes?: number
}

export async function showHistory(context: Context): Promise<number> {
  const backup = prepareBackup(context)
  const entries = await readJournal(backup.journalPath)
  const runs = entries.slice(-SHOWN)
  const trend = trendOf(entries.slice(-SHOWN * 2))
  const limits = await findLimits(backup, entries, trend)
  if (context.flags.has('json'))
    context.printJson({
      runs,
      trend: trend ?? null,
      lastGood: lastOf(entries, isGoodNight) ?? null,
      lastCheck: lastOf(entries, ({ checked }) => checked === true) ?? null,
      lastDrill: lastOf(entries, isGoodDrill) ?? null,
      limits: limits.map(({ fullAt, ...limit }) => ({ ...limit, fullAt: fullAt ? isoLocal(fullAt) : null })),
    })
  else if (runs.length === 0) context.print('No run has been noted on this machine yet. The next one is.')
  else context.print([runTable(runs, context.log.resultColumns), '', ...summaryOf(entries, trend, limits)].join('\n'))
  return EXIT.done
}

function isGoodNight({ kind, outcome }: JournalEntry): boolean {
  return (kind === 'night' || kind === 'accept') && outcome === 'done'
}

function isGoodDrill({ kind, outcome }: JournalEntry): boolean {
  return kind === 'drill' && outcome === 'done'
}

function lastOf(entries: readonly JournalEntry[], is: (entry: JournalEntry) => boolean): JournalEntry | undefined {
  return entries.findLast(is)
}

const BAR_WIDTH = 8

/** `#####   `: a part of the most that there is. */
function graph(count: number | undefined, most: number): string {
  if (count === undefined || most <= 0) return ''
  // What is there at all is seen.
  return '#'.repeat(Math.max(count > 0 ? 1 : 0, Math.round((count / most) * BAR_WIDTH)))
}

/** The runs, oldest first: the newest stands next to what is said below. */
export function runTable(runs: readonly JournalEntry[], columns?: number): string {
  const most = (of: (entry: JournalEntry) => number | undefined): number =>
    Math.max(0, ...runs.map((run) => of(run) ?? 0))
  const [largest, mostNew] = [most((run) => run.originalBytes), most((run) => run.newBytes)]
  const sized = (count: number | undefined): string => (count === undefined ? '' : bytes(count))
  const zone = zoneOf(new Date())
  const rows = runs.map((run) => [
    moment(new Date(run.time)).replace(/ \S+$/, ''),
    run.kind,
    run.outcome === 'done' ? 'done' : run.outcome.toUpperCase(),
    graph(run.originalBytes, largest),
    sized(run.originalBytes),
    graph(run.newBytes, mostNew),
    sized(run.newBytes),
    duration(run.seconds * 1000),
    notesOn(run),
  ])
  return table([[`time (${zone})`, 'run', 'ended', 'size', '', 'new', '', 'took', ''], ...rows], [4, 6, 7], columns)
}

function notesOn({ kind, archive, database, rows, files, tries = 1, checked, ...run }: JournalEntry): string {
  const { warnings, reason, state } = run
  const isRestore = kind.startsWith('restore') && kind !== 'restore point'
  const source = database ?? archive
  return [
    ...(isRestore && source !== undefined ? [`from ${source}`] : []),
    ...(rows === undefined ? [] : [plural(rows, 'row')]),
    ...(files === undefined ? [] : [plural(files, 'file')]),
    ...(tries > 1 ? [`${tries} tries`] : []),
    ...(checked ? ['checked'] : []),
    ...(warnings > 0 ? [plural(warnings, 'warning')] : []),
    // Of a restore also whether production was changed half way, or not at all.
    ...(reason === undefined ? [] : [`${shortened(reason)}${isRestore && state !== undefined ? ` ${state}` : ''}`]),
  ].join(', ')
}

const LONGEST_REASON = 60

function shortened(reason: string): string {
  return reason.length > LONGEST_REASON ? `${reason.slice(0, LONGEST_REASON - 1)}…` : reason
}

const DAY_MS = 86_400_000

/** How it grows from the first of the good nights to the last; undefined with less than two of them, a day apart. */
export function trendOf(entries: readonly JournalEntry[]): Trend | undefined {
  const nights = entries.filter((entry) => isGoodNight(entry) && entry.originalBytes !== undefined)
  const [first, last] = [nights[0], nights.at(-1)]
  if (!first || !last) return undefined
  const days = (Date.parse(last.time) - Date.parse(first.time)) / DAY_MS
  if (days < 0.9) return undefined
  const sum = nights.slice(1).reduce((total, { newBytes = 0 }) => total + newBytes, 0)
  const sizes = nights.flatMap(({ time, repositoryBytes }) =>
    repositoryBytes === undefined ? [] : [{ at: Date.parse(time), size: repositoryBytes }],
  )
  const [from, to] = [sizes[0], sizes.at(-1)]
  return {
    nights: nights.length,
    originalBytes: Math.round(((last.originalBytes ?? 0) - (first.originalBytes ?? 0)) / days),
    newBytes: Math.round(sum / days),
    ...(from && to && to.at - from.at > 0.9 * DAY_MS
      ? { repositoryBytes: Math.round((to.size - from.size) / ((to.at - from.at) / DAY_MS)) }
      : {}),
  }
}

/** @param growth a day, in bytes */
export function fullAt(freeBytes: number, growth: number | undefined, now = new Date()): Date | undefined {
  if (growth === undefined || growth <= 0) return undefined
  const days = freeBytes / growth
  return days > LONGEST_FORECAST_DAYS ? undefined : new Date(now.getTime() + days * DAY_MS)
}

/** What is further away is no forecast. */
const LONGEST_FORECAST_DAYS = 3650

/** Only of a repository on this machine: another one tells a client neither its quota nor its disk. */
async function findLimits(
  { borg }: Backup,
  entries: readonly JournalEntry[],
  trend: Trend | undefined,
): Promise<Limit[]> {
  if (isRemote(borg.repository)) return []
  const limits: Omit<Limit, 'fullAt'>[] = []
  const used = entries.findLast(({ repositoryBytes }) => repositoryBytes !== undefined)?.repositoryBytes
  const quota = await askQuota(borg)
  if (quota > 0 && used !== undefined) limits.push({ what: 'quota', freeBytes: Math.max(0, quota - used) })
  const disk = await statfs(borg.repository).catch(() => undefined)
  if (disk) limits.push({ what: 'disk', freeBytes: disk.bavail * disk.bsize })
  return limits.map((limit) => {
    const at = fullAt(limit.freeBytes, trend?.repositoryBytes ?? trend?.newBytes)
    return { ...limit, ...(at ? { fullAt: at } : {}) }
  })
}

/** In bytes; 0 for none. */
async function askQuota(borg: Backup['borg']): Promise<number> {
  try {
    return parseSize((await borg.call(quotaArgs())).stdout)
  } catch (error) {
    if (error instanceof Failure) return 0
    throw error
  }
}

function summaryOf(entries: readonly JournalEntry[], trend: Trend | undefined, limits: readonly Limit[]): string[] {
  const last = (what: string, entry: JournalEntry | undefined): string =>
    `Last ${what}: ${entry ? `${moment(new Date(entry.time))} (${age(new Date(entry.time))})` : 'none is noted'}`
  const grows = (count: number): string => `${count > 0 ? '+' : ''}${bytes(count)}`
  return [
    ...(trend
      ? [
          `A day, over ${plural(trend.nights, 'night')}: size ${grows(trend.originalBytes)}, new data ${bytes(trend.newBytes)}` +
            (trend.repositoryBytes === undefined ? '' : `, repository ${grows(trend.repositoryBytes)}`),
        ]
      : []),
    ...limits.map(
      ({ what, freeBytes, fullAt }) =>
        `${what === 'quota' ? 'Quota' : 'Disk'} of the repository: ${bytes(freeBytes)} are free` +
        (fullAt ? `; full on ${day(fullAt)} at this pace` : ''),
    ),
    last('good drill', lastOf(entries, isGoodDrill)),
    last(
      'borg check',
      lastOf(entries, ({ checked }) => checked === true),
    ),
    last('good night', lastOf(entries, isGoodNight)),
  ]
}

/** The lines of `backup --check` about the last night and the last drill; none where none was noted. */
export function runChecks(entries: readonly JournalEntry[]): CheckLine[] {
  const ended = entries.filter(({ outcome }) => outcome !== 'locked')
  const line = (name: string, run: JournalEntry | undefined, again: string): CheckLine[] => {
    if (!run) return []
    const detail = describeRun(run)
    return [run.outcome === 'done' ? pass(name, detail) : warn(name, detail, `When the cause is gone, ${again}`)]
  }
  return [
    ...line(
      'last run',
      lastOf(ended, ({ kind }) => kind === 'night' || kind === 'accept'),
      A_NIGHT,
    ),
    ...line(
      'last drill',
      lastOf(ended, ({ kind }) => kind === 'drill'),
      'type: restore --drill',
    ),
  ]
}

function describeRun({ time, outcome, archive, newBytes, seconds, reason }: JournalEntry): string {
  return [
    `${moment(new Date(time))} (${age(new Date(time))}): ${outcome}`,
    ...(archive === undefined ? [] : [archive]),
    ...(newBytes === undefined ? [] : [`${bytes(newBytes)} new data`]),
    `took ${duration(seconds * 1000)}`,
    ...(reason === undefined ? [] : [printable(reason)]),
  ].join(', ')
}
