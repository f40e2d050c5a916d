// Times, as operators read them.
import { duration, plural } from './format.ts'

/** How long ago, in the words an operator would use: `5 minutes ago`, `2 days ago`. */
export function age(then: Date, now = new Date()): string {
  const seconds = (now.getTime() - then.getTime()) / 1000
  if (Number.isNaN(seconds)) return 'at an unknown time'
  if (seconds < 0) return 'in the future'
  for (const [size, word] of [
    [86400 * 2, 'day'],
    [3600, 'hour'],
    [60, 'minute'],
  ] as const) {
    if (seconds < size) continue
    const count = Math.floor(seconds / (word === 'day' ? 86400 : size))
    return `${plural(count, word)} ago`
  }
  return 'just now'
}

/** A time for people, with its zone, in local time: `Thu 26 Nov 03:00 UTC`; with the year unless it is this one. */
export function moment(date: Date, now = new Date()): string {
  return momentTo('03:00'.length, date, now)
}

/** The same of several that stand in one list: to the second where two would look alike. */
export function moments(dates: readonly Date[], now = new Date()): string[] {
  const seen = new Map<string, number>()
  for (const text of dates.map((date) => moment(date, now))) seen.set(text, (seen.get(text) ?? 0) + 1)
  return dates.map((date) => {
    const text = moment(date, now)
    return seen.get(text) === 1 ? text : momentTo('03:00:00'.length, date, now)
  })
}

function momentTo(length: number, date: Date, now: Date): string {
  if (!isTime(date)) return 'an unknown time'
  return `${day(date, now)} ${localTimestamp(date).slice(11, 11 + length)} ${zoneOf(date)}`
}

/** A day for people: `Thu 26 Nov`; with the year unless it is this one. */
export function day(date: Date, now = new Date()): string {
  if (!isTime(date)) return 'an unknown day'
  const part = (options: Intl.DateTimeFormatOptions): string => new Intl.DateTimeFormat('en-GB', options).format(date)
  const year = date.getFullYear() === now.getFullYear() ? '' : ` ${date.getFullYear()}`
  return `${part({ weekday: 'short' })} ${date.getDate()} ${part({ month: 'short' })}${year}`
}

/** When something was, and how long ago that is: `Thu 26 Nov 03:00 UTC, 16 h 53 min ago`. */
export function momentAgo(date: Date, now = new Date()): string {
  return `${moment(date, now)}, ${agoInWords(date, now)}`
}

/** The zone of local time then: `UTC`, `CEST`. */
export function zoneOf(date: Date): string {
  if (!isTime(date)) return ''
  const text = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', timeZoneName: 'short' }).format(date)
  return /\S+$/.exec(text)?.[0] ?? ''
}

/** How long ago, exact enough to know what was done in it: `16 h 53 min ago`, `12 days ago`. */
export function agoInWords(then: Date, now = new Date()): string {
  const ms = now.getTime() - then.getTime()
  return ms >= 60000 && ms < 4 * 86400000 ? `${duration(ms)} ago` : age(then, now)
}

/** Local time with its zone, to the second: `2026-02-28T03:00:00+01:00`. */
export function isoLocal(date: Date): string {
  if (!isTime(date)) return 'an unknown time'
  const minutes = -date.getTimezoneOffset()
  const two = (value: number): string => String(Math.floor(Math.abs(value))).padStart(2, '0')
  return `${localTimestamp(date)}${minutes < 0 ? '-' : '+'}${two(minutes / 60)}:${two(minutes % 60)}`
}

/** A commit can have a date that JavaScript does not know, or none in our zone. */
function isTime(date: Date): boolean {
  return Math.abs(date.getTime()) <= LAST_MS
}

/** The last time that JavaScript writes (ECMA-262), less a day for the zones. */
const LAST_MS = 8.64e15 - 86400000

/** Local time without a zone, as archive names carry it: `2026-02-28T03:00:00`. */
export function localTimestamp(date: Date): string {
  return new Date(date.getTime() - date.getTimezoneOffset() * 60000).toISOString().slice(0, 19)
}
