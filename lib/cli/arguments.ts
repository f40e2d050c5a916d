// The command line: what a script accepts, and what was typed.
import { parseArgs } from 'node:util'
import { EXIT, Failure } from '../core/failure.ts'
import { nearest, oneLine } from '../core/format.ts'

/** What a script accepts, beside --help, --version and --env-file. */
export interface Command {
  name: string
  help: string
  /** Flags without a value. */
  switches: readonly string[]
  /** Flags with a value. */
  options?: readonly string[]
  /** Groups of switches of which at most one makes sense. */
  exclusive?: readonly (readonly string[])[]
  /** Flags that make sense only with one of others. */
  goesWith?: Readonly<Record<string, readonly string[]>>
  /** The name of an argument without a flag, if the script takes one. */
  argument?: string
  /** Flags that leave nothing for that argument to say. */
  withoutArgument?: readonly string[]
}

export interface Arguments {
  /** The switches that were given. */
  flags: ReadonlySet<string>
  values: Readonly<Record<string, string>>
  argument: string | undefined
}

const COMMON = ['help', 'version']
const LONGEST_GROUP = 100

/**
 * Reads a command line.
 * @throws Failure (exit status 2) that names an unknown flag and the one it resembles
 */
export function parse(command: Command, argv: readonly string[]): Arguments {
  const switches = [...COMMON, ...command.switches]
  const options = ['env-file', ...(command.options ?? [])]
  const refuse = (message: string): never => {
    throw new Failure(message, `See: ${command.name} --help`, EXIT.usage)
  }
  // As a group of flags of one letter: Node can't take a hundred thousand of them apart (20.20).
  const many = argv.find((word) => /^-[^-]/.test(word) && word.length > LONGEST_GROUP)
  if (many !== undefined) refuse(`Unknown flags ${oneLine(many, LONGEST_GROUP)}.`)
  const { tokens } = parseArgs({
    args: [...argv],
    strict: false,
    tokens: true,
    options: Object.fromEntries([
      ...switches.map((name) => [name, { type: 'boolean' as const, ...(name === 'help' && { short: 'h' }) }]),
      ...options.map((name) => [name, { type: 'string' as const }]),
    ]),
  })
  const flags = new Set<string>()
  const values: Record<string, string> = {}
  const words: string[] = []
  for (const token of tokens) {
    if (token.kind === 'positional') words.push(token.value)
    if (token.kind !== 'option') continue
    const { name, rawName, value } = token
    if (options.includes(name) && rawName.startsWith('--')) {
      // `--url --json`: the value was forgotten, and the next flag would be taken for it.
      if (!value || (!token.inlineValue && value.startsWith('-'))) refuse(`${rawName} needs a value.`)
      else values[name] = value
    } else if (switches.includes(name) && (rawName.startsWith('--') || name === 'help')) {
      if (value !== undefined) refuse(`${rawName} takes no value.`)
      flags.add(name)
    } else {
      const [near] = nearest(name, [...switches, ...options], 1, 1 / 3)
      refuse(`Unknown flag ${rawName}.${near ? ` Did you mean --${near}?` : ''}`)
    }
  }
  if (words.length > (command.argument ? 1 : 0)) refuse(`Unexpected argument: ${words.at(-1)}`)
  const isGiven = (name: string): boolean => flags.has(name) || name in values
  for (const group of command.exclusive ?? []) {
    const given = group.filter(isGiven)
    if (given.length > 1) refuse(`${given.map((name) => `--${name}`).join(' and ')} can't be used together.`)
  }
  for (const [name, others] of Object.entries(command.goesWith ?? {}))
    if (isGiven(name) && !others.some(isGiven)) refuse(`--${name} goes with ${either(others)}.`)
  const alone = command.withoutArgument?.find(isGiven)
  if (words.length > 0 && alone !== undefined) refuse(`--${alone} takes no ${command.argument}.`)
  return { flags, values, argument: words[0] }
}

/** `--list`, `--list or --rows`, `--list, --drill or --rows` */
function either(names: readonly string[]): string {
  return new Intl.ListFormat('en-GB', { type: 'disjunction' }).format(names.map((name) => `--${name}`))
}
