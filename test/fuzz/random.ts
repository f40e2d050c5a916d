// Chance for the fuzz cases: the same seed and number make the same case.

export interface Random {
  /** 0 or more, less than `end`. */
  below(end: number): number
  chance(part: number): boolean
  pick<T>(from: readonly T[]): T
  /** Up to `most` values, each made anew. */
  list<T>(most: number, make: () => T): T[]
}

export function randomOf(seed: number, number: number): Random {
  let state = (Math.imul(seed, 0x9e3779b1) ^ Math.imul(number + 1, 0x85ebca6b)) >>> 0
  // mulberry32
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const below = (end: number): number => Math.floor(next() * end)
  return {
    below,
    chance: (part) => next() < part,
    pick: (from) => {
      const picked = from[below(from.length)]
      if (picked === undefined && from.length === 0) throw new Error('There is nothing to pick from.')
      return picked as (typeof from)[number]
    },
    list: (most, make) => Array.from({ length: below(most + 1) }, make),
  }
}

/** One after the other, and again from the first. */
export function inTurn<T>(from: readonly T[], turn: number): T {
  return from[turn % from.length] as T
}
