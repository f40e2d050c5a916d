// Finds the commits that take others back: to revert one of them would bring back what it took away.

import { type Checkout, hasCommit, isAncestor } from './checkout.ts'

/** A commit with its whole message. */
interface Message {
  sha: string
  subject: string
  body: string
  /** When it was committed. */
  at: Date
}

/** What a message says of the commits that it takes back. */
interface Said {
  /** It speaks of taking back, or of doing so no longer. */
  speaks: boolean
  /** It takes something back. A revert of a revert does not. */
  isRevert: boolean
  /** The subject of what is taken back, where it is quoted. */
  subject: string | undefined
  /** The commits that it names as reverted, perhaps abbreviated. */
  shas: string[]
}

/**
 * Pure. Git's own words, those of `git revert --reference` and of GitHub's button (also squashed, or in the message of a merge), and
 * `revert: …` as conventional commits have it.
 */
export function parseRevert({ subject, body }: Pick<Message, 'subject' | 'body'>): Said {
  let rest = subject
  let reverts = 0
  let quoted: string | undefined
  // Revert "Revert "Draw the map"" takes nothing back, Reapply "Draw the map" neither.
  for (;;) {
    const [prefix, word = ''] = /^(Revert|Reapply) "|^(?:revert(?:\([^)]{0,100}\))?!?: +)/i.exec(rest) ?? []
    if (prefix === undefined) break
    if (!/^reapply$/i.test(word)) reverts++
    rest = rest.slice(prefix.length)
    quoted = withoutEnd(rest)
  }
  const named = [...body.matchAll(/^This reverts (?:commits?|merge) ([0-9a-f, and]+)/gm)].flatMap(([, list = '']) =>
    [...list.matchAll(/\b[0-9a-f]{7,40}\b/g)].map(([sha]) => sha),
  )
  const isQuoted = reverts > 0 || /^Reapply "/.test(subject)
  const isTold =
    /^(reverts?|reverted|reverting|backs? out|backout)\b/i.test(subject) ||
    /^This reverts |^Reverts (\S+)?#\d+|^Revert "/m.test(body)
  const isRevert = isQuoted ? reverts % 2 === 1 : isTold
  return { speaks: isQuoted || isTold, isRevert, subject: quoted, shas: named }
}

/** What was quoted, without the quotation marks at its end and the number of a pull request. */
function withoutEnd(text: string): string {
  const plain = text.replace(/ \(#\d{1,9}\)$/, '')
  let end = plain.length
  while (plain[end - 1] === '"') end--
  return plain.slice(0, end)
}

// A body can hold anything but NUL.
const FORMAT = '--format=%H%x1f%s%x1f%cI%x1f%b%x00'

async function messagesOf(checkout: Checkout, ...range: string[]): Promise<Message[]> {
  const text = await checkout.ask(['log', FORMAT, ...range, '--'])
  return text.split('\0').flatMap((block) => {
    const [sha = '', subject = '', at = '', ...body] = block.trim().split('\u001f')
    return sha === '' ? [] : [{ sha, subject, body: body.join(' '), at: new Date(at) }]
  })
}

/** A commit that is to be reverted, to its parent of this number (from 1) where it is a merge. */
interface ToRevert {
  sha: string
  mainline: number | undefined
}

/**
 * Those of the commits, and of what their merges brought, that take back something which is not among them.
 * @returns the reverts, newest first
 */
export async function findReverts(checkout: Checkout, commits: readonly ToRevert[]): Promise<Message[]> {
  const all = await messagesToRevert(checkout, commits)
  const isAmong = ({ subject, shas }: Said): boolean =>
    shas.length > 0
      ? shas.every((name) => all.some(({ sha }) => sha.startsWith(name)))
      : subject !== undefined && all.some((other) => other.subject === subject)
  const reverts: Message[] = []
  let known: readonly State[] = []
  for (const message of all) {
    const said = parseRevert(message)
    if (said.isRevert && !isAmong(said) && !(await revertsReverts(checkout, said))) reverts.push(message)
    if (said.speaks) continue
    // Mostly the commits are one line of first parents: then they are all asked for at once.
    if (!known.some(({ sha }) => sha === message.sha)) known = await statesBefore(checkout, message, all.length)
    if (goesBackTo(known, message)) reverts.push(message)
  }
  return reverts
}

/** The messages of the commits, and of what merges among them brought. */
async function messagesToRevert(checkout: Checkout, commits: readonly ToRevert[]): Promise<Message[]> {
  const plain = commits.filter(({ mainline }) => mainline === undefined).map(({ sha }) => sha)
  const alone = plain.length > 0 ? await messagesOf(checkout, '--no-walk=unsorted', ...plain) : []
  const messages = new Map<string, Message>()
  for (const { sha, mainline } of commits) {
    const brought = mainline !== undefined ? await messagesOf(checkout, sha, `^${sha}^${mainline}`) : undefined
    for (const message of brought ?? alone.filter((one) => one.sha === sha)) messages.set(message.sha, message)
  }
  return [...messages.values()]
}

/** A revert whose subject was written anew: what it names is a revert itself. */
async function revertsReverts(checkout: Checkout, { shas }: Said): Promise<boolean> {
  for (const name of shas) {
    if (!(await hasCommit(checkout, name))) return false
    const [message] = await messagesOf(checkout, '--max-count=1', name)
    if (!message || !parseRevert(message).isRevert) return false
  }
  return shas.length > 0
}

interface Revert extends Message {
  said: Said
}

/** The reverts on the way from one commit to another that were not taken back themselves, newest first. */
async function standingReverts(checkout: Checkout, from: string, to: string): Promise<Revert[]> {
  const since = (await messagesOf(checkout, '--topo-order', to, `^${from}`)).map((message) => ({
    ...message,
    said: parseRevert(message),
  }))
  // Newest first: only what comes before it can take it back.
  const stands = (i: number): boolean =>
    !since.some(
      ({ said }, j) => j < i && said.shas.some((name) => since[i]?.sha.startsWith(name)) && said.speaks && stands(j),
    )
  return since.filter(({ said }, i) => said.isRevert && stands(i))
}

/**
 * The last revert on the way to `running` of a commit that `sha` holds: going back to `sha` would bring that commit back. A revert that
 * was taken back itself does not count.
 */
export async function revertedSince(checkout: Checkout, sha: string, running: string): Promise<Message | undefined> {
  for (const revert of await standingReverts(checkout, sha, running))
    if (await holdsWhatIsReverted(checkout, sha, revert.said)) return revert
  return undefined
}

/**
 * Those of the commits up to `tip` that no revert between `tip` and `to` takes back. The revert of a merge takes back all that it
 * brought.
 */
export async function notReverted<T extends Pick<Message, 'sha' | 'subject'>>(
  checkout: Checkout,
  commits: readonly T[],
  tip: string,
  to: string,
): Promise<T[]> {
  const [shas, subjects] = [new Set<string>(), new Set<string>()]
  for (const { said } of await standingReverts(checkout, tip, to)) {
    for (const name of said.shas)
      if (await hasCommit(checkout, `${name}^`))
        for (const sha of (await checkout.ask(['rev-list', name, `^${name}^`])).split('\n')) shas.add(sha)
    if (said.shas.length === 0 && said.subject !== undefined) subjects.add(said.subject)
  }
  return commits.filter(({ sha, subject }) => !shas.has(sha) && !subjects.has(subject))
}

async function holdsWhatIsReverted(checkout: Checkout, sha: string, { subject, shas }: Said): Promise<boolean> {
  for (const name of shas) if (await isAncestor(checkout, name, sha)) return true
  if (shas.length > 0 || subject === undefined) return false
  const named = await messagesOf(checkout, '--fixed-strings', `--grep=${subject}`, sha)
  return named.some((message) => message.subject === subject)
}

/** How far back an earlier state is looked for. */
const MOST_STATES = 200

/** A commit, and all its files by the name that git gives them together. */
interface State {
  sha: string
  tree: string
}

/** The commit and those before it, by first parents. @param more so many more than are needed for this commit alone */
async function statesBefore(checkout: Checkout, { sha }: Message, more: number): Promise<State[]> {
  const options = ['--first-parent', `--max-count=${MOST_STATES + more}`, '--format=%H %T']
  const lines = (await checkout.ask(['log', ...options, sha, '--'])).split('\n')
  return lines.map((line) => ({ sha: line.slice(0, 40), tree: line.slice(41) }))
}

/** Whether the commit, whatever it says, makes all files what they were at an earlier one before the last. */
function goesBackTo(known: readonly State[], { sha }: Message): boolean {
  const at = known.findIndex((state) => state.sha === sha)
  const [tree, before, ...earlier] = known.slice(at, at + MOST_STATES).map(({ tree }) => tree)
  return tree !== before && tree !== undefined && earlier.includes(tree)
}
