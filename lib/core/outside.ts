// Reads what comes from outside as JSON: a value of another shape is told with who said it and what was expected, and is no bug.
import { Failure } from './failure.ts'
import { oneLine } from './format.ts'

/** Reads a value as what was expected. @throws Misfit for any other value */
export type Shape<T> = (value: unknown) => T

/** A value that is not what was expected. */
class Misfit extends Error {
  constructor(
    readonly wanted: string,
    /** Where it is, from the outermost value: `.archives[3].start`. */
    readonly at = '',
  ) {
    super(`${at || 'it'} is not ${wanted}`)
  }
}

function fits<T>(isRight: (value: unknown) => value is T, wanted: string): Shape<T> {
  return (value) => {
    if (isRight(value)) return value
    throw new Misfit(wanted)
  }
}

export const aText = fits((value) => typeof value === 'string', 'a text')
export const aBoolean = fits((value) => typeof value === 'boolean', 'true or false')
export const aNumber = fits((value): value is number => typeof value === 'number' && Number.isFinite(value), 'a number')
export const aCount = fits(
  (value): value is number => typeof value === 'number' && Number.isSafeInteger(value) && value >= 0,
  'a whole number',
)

/** A time that JavaScript reads. */
export function aTime(value: unknown): Date {
  const time = new Date(typeof value === 'string' ? value : Number.NaN)
  if (Number.isNaN(time.getTime())) throw new Misfit('a time')
  return time
}

/** The text of such a time. */
export function aTimeText(value: unknown): string {
  aTime(value)
  return aText(value)
}

export function matching(pattern: RegExp, wanted: string): Shape<string> {
  return fits((value): value is string => typeof value === 'string' && pattern.test(value), wanted)
}

export function oneOf<T extends string>(...values: readonly T[]): Shape<T> {
  return fits((value): value is T => values.some((one) => one === value), values.join(' or '))
}

/** What may be missing. */
export function optional<T>(shape: Shape<T>): Shape<T | undefined> {
  return (value) => (value === undefined ? undefined : shape(value))
}

/** What may be null. */
export function orNull<T>(shape: Shape<T>): Shape<T | null> {
  return (value) => (value === null ? null : shape(value))
}

/** What is of another shape counts as missing: where the rest is worth more than this. */
export function atBest<T>(shape: Shape<T>): Shape<T | undefined> {
  return (value) => {
    try {
      return shape(value)
    } catch {
      return undefined
    }
  }
}

export function listOf<T>(shape: Shape<T>): Shape<T[]> {
  return (value) => {
    if (!Array.isArray(value)) throw new Misfit('a list')
    return value.map((item, index) => within(`[${index}]`, shape, item))
  }
}

export function pairOf<A, B>(first: Shape<A>, second: Shape<B>): Shape<[A, B]> {
  return (value) => {
    if (!Array.isArray(value) || value.length !== 2) throw new Misfit('a pair')
    return [within('[0]', first, value[0]), within('[1]', second, value[1])]
  }
}

/** An object whose keys are names, and whose values are all alike. */
export function mapOf<T>(shape: Shape<T>): Shape<Record<string, T>> {
  return (value) =>
    Object.fromEntries(Object.entries(object(value)).map(([key, item]) => [key, within(`.${key}`, shape, item)]))
}

/** An object with these keys; what else is in it is left out. */
export function record<T extends Record<string, Shape<unknown>>>(shapes: T): Shape<Found<T>> {
  return (value) => {
    const from = object(value)
    const found = Object.entries(shapes).flatMap(([key, shape]) => {
      const item = within(`.${key}`, shape, Object.hasOwn(from, key) ? from[key] : undefined)
      return item === undefined ? [] : [[key, item]]
    })
    return Object.fromEntries(found)
  }
}

/** What such an object is: keys that may be undefined may also be missing. */
export type Found<T extends Record<string, Shape<unknown>>> = {
  [K in keyof T as undefined extends ReturnType<T[K]> ? never : K]: ReturnType<T[K]>
} & {
  [K in keyof T as undefined extends ReturnType<T[K]> ? K : never]?: Exclude<ReturnType<T[K]>, undefined>
}

function object(value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Misfit('an object')
  return value as Record<string, unknown>
}

function within<T>(where: string, shape: Shape<T>, value: unknown): T {
  try {
    return shape(value)
  } catch (error) {
    throw error instanceof Misfit ? new Misfit(error.wanted, `${where}${error.at}`) : error
  }
}

/**
 * Reads JSON that a program or a server has said.
 * @param who said it, as the beginning of a sentence: `Borg (borg list --json)`
 * @throws Failure when it is not JSON, or of another shape
 */
export function readJson<T>(json: string, shape: Shape<T>, who: string, hint = ''): T {
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch {
    throw new Failure(`${who} did not answer with JSON, but with: ${oneLine(json) || 'nothing'}`, hint)
  }
  try {
    return shape(value)
  } catch (error) {
    if (!(error instanceof Misfit)) throw error
    throw new Failure(`${who} did not answer as expected: ${error.message}, in ${oneLine(json)}`, hint)
  }
}

/** The same where another answer counts as none. */
export function tryJson<T>(json: string, shape: Shape<T>): T | undefined {
  try {
    return shape(JSON.parse(json))
  } catch {
    return undefined
  }
}
