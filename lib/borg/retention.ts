// Which archives are kept, and which of them Borg would prune.

import type { Settings } from '../cli/settings.ts'
import { localTimestamp } from '../core/times.ts'
import type { Archive } from './output.ts'

/** Archives kept, as `borg prune --keep-*` counts them: all of so many hours, and the newest of each of so many periods. */
export interface Retention {
  withinHours: number
  hourly: number
  daily: number
  weekly: number
  monthly: number
  yearly: number
}

/** No archive younger than this is pruned, whatever is set: a run by hand costs none, and a bad night is noticed before a good one goes. */
const NEVER_PRUNED_HOURS = 48

export const RETENTION_SETTINGS = [
  'KEEP_WITHIN',
  'KEEP_HOURLY',
  'KEEP_DAILY',
  'KEEP_WEEKLY',
  'KEEP_MONTHLY',
  'KEEP_YEARLY',
] as const

export function retentionOf(settings: Settings<(typeof RETENTION_SETTINGS)[number]>): Retention {
  return {
    withinHours: Math.max(NEVER_PRUNED_HOURS, settings.KEEP_WITHIN ?? 0),
    hourly: settings.KEEP_HOURLY,
    daily: settings.KEEP_DAILY,
    weekly: settings.KEEP_WEEKLY,
    monthly: settings.KEEP_MONTHLY,
    yearly: settings.KEEP_YEARLY,
  }
}

/**
 * The archives that `borg prune` would remove, for a preview that counts an archive that does not exist yet. Follows
 * `prune_within` and `prune_split` of Borg 1.2 and 1.4: what is young enough is kept first. Each further rule keeps the
 * newest archive of each of its periods that no earlier rule keeps, and the oldest one of all while it has room.
 */
export function prunable(archives: readonly Archive[], keep: Retention, nowMs = Date.now()): Archive[] {
  const newestFirst = [...archives].sort((a, b) => b.start.getTime() - a.start.getTime())
  const kept = new Set(newestFirst.filter(({ start }) => start.getTime() > nowMs - keep.withinHours * 3_600_000))
  const local = (length: number) => (date: Date) => localTimestamp(date).slice(0, length)
  const rules: [number, (date: Date) => string][] = [
    [keep.hourly, local('2026-02-28T03'.length)],
    [keep.daily, local('2026-02-28'.length)],
    [keep.weekly, isoWeek],
    [keep.monthly, local('2026-02'.length)],
    [keep.yearly, local('2026'.length)],
  ]
  for (const [most, period] of rules) {
    if (most === 0) continue
    let count = 0
    let last: string | undefined
    let reached: Archive | undefined
    for (const archive of newestFirst) {
      reached = archive
      if (period(archive.start) === last) continue
      last = period(archive.start)
      if (kept.has(archive)) continue
      kept.add(archive)
      if (++count === most) break
    }
    if (count < most && reached) kept.add(reached)
  }
  return newestFirst.filter((archive) => !kept.has(archive))
}

/** The restore points that go: all but the newest `keep`, and none that is younger than any archive must be to be pruned. */
export function prunablePoints(points: readonly Archive[], keep: number, nowMs = Date.now()): Archive[] {
  return [...points]
    .sort((a, b) => b.start.getTime() - a.start.getTime())
    .slice(keep)
    .filter(({ start }) => start.getTime() <= nowMs - NEVER_PRUNED_HOURS * 3_600_000)
}

/** `2026-W09`, the ISO 8601 week: the one that holds the Thursday. */
function isoWeek(date: Date): string {
  const thursday = new Date(date.getFullYear(), date.getMonth(), date.getDate() + 3 - ((date.getDay() + 6) % 7))
  const newYear = new Date(thursday.getFullYear(), 0, 1)
  const days = Math.round((thursday.getTime() - newYear.getTime()) / 86_400_000)
  return `${thursday.getFullYear()}-W${Math.floor(days / 7) + 1}`
}
