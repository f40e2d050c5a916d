// All kinds of fuzz cases, and how a case is made of a seed and a number alone.
import * as answers from './answers.ts'
import type { Case } from './judge.ts'
import * as machine from './machine.ts'
import * as network from './network.ts'
import { type Random, randomOf } from './random.ts'
import * as texts from './texts.ts'

/** @param turn how many of the kind came before: where it has a few variants, each has its turn */
type Kind = (random: Random, turn: number) => Case

/** How many of a round's cases are of a kind. */
type Shares = readonly (readonly [Kind, number])[]

const FAST: Shares = [
  [texts.shownText, 7],
  [texts.shownSecret, 6],
  [texts.shownJson, 3],
  [texts.shownTable, 3],
  [texts.toldFailure, 4],
  [texts.commandLine, 3],
  [texts.settings, 5],
  [texts.envFile, 12],
  [answers.borgList, 7],
  [answers.borgCreated, 4],
  [answers.borgMessages, 6],
  [answers.borgItem, 5],
  [answers.dokkuReport, 5],
  [answers.dokkuError, 4],
  [answers.psqlRows, 6],
  [answers.editedFile, 16],
  [answers.holder, 3],
  [answers.certificate, 4],
  [answers.gitLog, 3],
  [network.cloudflare, 7],
  [network.monitor, 2],
  [network.site, 3],
  [machine.disk, 5],
  [machine.lockRecord, 2],
]

/** They start programs, and cost a hundred times as much as the others. */
const SLOW: Shares = [
  [machine.repository, 2],
  [machine.terminal, 3],
  [machine.script, 4],
  [machine.checkout, 2],
]

export interface NumberedCase extends Case {
  kind: string
}

/** @param slow without it no case starts a script or a repository */
export function caseOf(seed: number, number: number, slow = true): NumberedCase {
  const shares = slow ? [...FAST, ...SLOW] : FAST
  const round = shuffled(
    randomOf(seed, -1),
    shares.flatMap(([make, count]) => Array.from({ length: count }, (_, index) => ({ make, count, index }))),
  )
  const { make, count, index } = round[number % round.length] as (typeof round)[number]
  const turn = Math.floor(number / round.length) * count + index + Math.abs(seed)
  return { kind: make.name, ...make(randomOf(seed, number), turn) }
}

function shuffled<T>(random: Random, from: readonly T[]): T[] {
  return from
    .map((value) => ({ value, at: random.below(2 ** 30) }))
    .sort((a, b) => a.at - b.at)
    .map(({ value }) => value)
}
