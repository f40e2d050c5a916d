// All kinds of fuzz cases, and how a case is made of a seed and a number alone.
import * as answers from './answers.ts'
import type { Case } from './judge.ts'
import * as machine from './machine.ts'
import * as network from './network.ts'
import { type Random, randomOf } from './random.ts'
import * as texts from './texts.ts'

type Kind = (random: Random) => Case

/** Those that start programs cost a hundred times as much as the others, and come less often. */
const FAST: Readonly<Record<string, Kind>> = { ...texts, ...answers }
const MIDDLE: Readonly<Record<string, Kind>> = { ...network, disk: machine.disk }
const SLOW: Readonly<Record<string, Kind>> = {
  repository: machine.repository,
  terminal: machine.terminal,
  script: machine.script,
}

export interface NumberedCase extends Case {
  kind: string
}

/** @param slow without it no case starts a script or a repository */
export function caseOf(seed: number, number: number, slow = true): NumberedCase {
  const random = randomOf(seed, number)
  const part = random.below(100)
  const kinds = slow && part < 6 ? SLOW : part < 22 ? MIDDLE : FAST
  const [kind, make] =
    kinds === FAST && random.chance(0.15) ? (['envFile', texts.envFile] as const) : random.pick(Object.entries(kinds))
  return { kind, ...make(random) }
}
