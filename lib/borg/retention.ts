// Which archives are kept, and which of them Borg would prune.

import type { Settings } from '../cli/settings.ts'
import { localTimestamp } from '../core/format.ts'
import type { Archive } from './output.ts'

/** Archives kept per period, as `borg prune --keep-*` counts them. */
export interface Retention {
  daily: number
  weekly: number
  monthly: number
}

export function retentionOf(settings: Settings<'KEEP_DAILY' | 'KEEP_WEEKLY' | 'KEEP_MONTHLY'>): Retention {
  return { daily: settings.KEEP_DAILY, weekly: settings.KEEP_WEEKLY, monthly: settings.KEEP_MONTHLY }
}

/**
 * The archives that `borg prune --keep-daily … --keep-weekly … --keep-monthly …` would remove, for a preview that
 * counts an archive that does not exist yet. Follows `prune_split` of Borg 1.2 and 1.4: each rule keeps the newest
 * archive of each of its periods that no earlier rule keeps, and the oldest one of all while it has room.
 */
export function prunable(archives: readonly Archive[], keep: Retention): Archive[] {
  const newestFirst = [...archives].sort((a, b) => b.start.getTime() - a.start.getTime())
  const kept = new Set<Archive>()
  const rules: [number, (date: Date) => string][] = [
    [keep.daily, (date) => localTimestamp(date).slice(0, 10)],
    [keep.weekly, isoWeek],
    [keep.monthly, (date) => localTimestamp(date).slice(0, 7)],
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

/** `2026-W09`, the ISO 8601 week: the one that holds the Thursday. */
function isoWeek(date: Date): string {
  const thursday = new Date(date.getFullYear(), date.getMonth(), date.getDate() + 3 - ((date.getDay() + 6) % 7))
  const newYear = new Date(thursday.getFullYear(), 0, 1)
  const days = Math.round((thursday.getTime() - newYear.getTime()) / 86_400_000)
  return `${thursday.getFullYear()}-W${Math.floor(days / 7) + 1}`
}
