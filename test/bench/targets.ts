// What a benchmark measured, against what it may be at most.
import { table } from '../../lib/core/layout.ts'

/** What a benchmark measured against what it may be at most. */
export interface Target {
  name: string
  value: number
  limit: number
  met: boolean
  show: (value: number) => string
}

export function atMost(
  name: string,
  value: number,
  limit: number,
  show: (value: number) => string = (value) => value.toFixed(3),
): Target {
  return { name, value, limit, met: value <= limit, show }
}

export function targetTable(targets: readonly Target[]): string {
  return table(
    [
      ['target', 'measured', 'at most', ''],
      ...targets.map(({ name, value, limit, met, show }) => [name, show(value), show(limit), met ? 'met' : 'MISSED']),
    ],
    [1, 2],
  )
}
