import { Failure } from '../core/failure.ts'
import { plural } from '../core/format.ts'
import { shortSha } from '../core/sha.ts'
import { quoteAll } from '../core/shell.ts'
import { type Checkout, fileOf, hasCommit, isAncestor, isMigration } from '../git/checkout.ts'

/** A migration file in which two commits differ. */
export interface Crossed {
  path: string
  /** `added`: only what runs has it; `changed`: both have it; `deleted`: only the target has it. */
  how: 'added' | 'changed' | 'deleted'
}

const HOW: Record<string, Crossed['how']> = { A: 'added', M: 'changed', T: 'changed', D: 'deleted' }

/** Pure: what `git diff --name-status -z` from the target to what runs printed. */
export function parseCrossed(stdout: string): Crossed[] {
  const words = stdout.split('\0')
  return words.flatMap((path, i) => {
    const how = i % 2 === 1 ? HOW[words[i - 1] ?? ''] : undefined
    return how && isMigration(path) ? [{ path, how }] : []
  })
}

/**
 * The migrations that going from what runs (`current`) to `target` crosses: files that only `current` has, or has otherwise. Those
 * that only the target has count when it is the older of the two; a newer target brings them, as any deploy does.
 * @returns undefined when one of the commits is not in this checkout
 */
export async function migrationsAcross(
  checkout: Checkout,
  target: string,
  current: string,
): Promise<Crossed[] | undefined> {
  if (!(await hasCommit(checkout, target)) || !(await hasCommit(checkout, current))) return
  const crossed = parseCrossed(
    await checkout.ask(['diff', '--name-status', '--no-renames', '-z', target, current, '--']),
  )
  if (!crossed.some(({ how }) => how === 'deleted') || (await isAncestor(checkout, target, current))) return crossed
  return crossed.filter(({ how }) => how !== 'deleted')
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'))
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1).replace(/\.py$/, '')
}

function numberOf(name: string): number {
  return Number.parseInt(name, 10)
}

/**
 * Pure: per app, the command that takes its migrations back while the newer code, which knows how, still runs.
 * @param left the migration files of the target
 * @param known those of the code that runs
 * @param labels of the apps by their migrations' folder, where it is not the name of the app's own folder
 */
export function undoCommands(
  app: string,
  crossed: readonly Crossed[],
  left: readonly string[],
  known: ReadonlySet<string>,
  labels: ReadonlyMap<string, string> = new Map(),
): string[] {
  const folders = [...new Set(crossed.map(({ path }) => folderOf(path)))].sort()
  return folders.map((folder) => {
    const namesOf = (paths: readonly string[]): string[] =>
      paths
        .filter((path) => folderOf(path) === folder)
        .map(nameOf)
        .sort()
    const crossedBy = (how: Crossed['how']): string[] =>
      namesOf(crossed.filter((one) => one.how === how).map(({ path }) => path))
    const last = namesOf(left).at(-1)
    // A name that the running code does not know, or gives another meaning, is none to go back to.
    const unsure = [...crossedBy('changed'), ...namesOf(left.filter((path) => !known.has(path)))]
    // Django takes back what depends on the named one: not what stands beside it and was merged with it.
    const beside = crossedBy('added').filter((name) => numberOf(name) <= numberOf(last ?? ''))
    const label = labels.get(folder) ?? folder.split('/').at(-2) ?? folder
    const manage = (...words: string[]): string =>
      quoteAll(['sudo', 'dokku', 'run', app, 'python', 'manage.py', ...words])
    const why =
      unsure.length > 0
        ? `${unsure.join(', ')} changed, or unknown to what runs`
        : beside.length > 0 && `${beside.join(', ')} beside ${last}`
    if (!why) return manage('migrate', label, last ?? 'zero')
    return `# ${label}: ${why}, so no one command undoes it; see: ${manage('showmigrations', label)}`
  })
}

/** The label that an app gives itself in its apps.py. */
async function labelsOf(
  checkout: Checkout,
  sha: string,
  crossed: readonly Crossed[],
): Promise<ReadonlyMap<string, string>> {
  const labels = new Map<string, string>()
  for (const folder of new Set(crossed.map(({ path }) => folderOf(path)))) {
    const apps = await fileOf(checkout, sha, folder.replace(/(^|\/)migrations$/, '$1apps.py'))
    const label = /^\s+label\s*=\s*['"](\w+)['"]/m.exec(apps ?? '')?.[1]
    if (label !== undefined) labels.set(folder, label)
  }
  return labels
}

async function migrationsOf(checkout: Checkout, sha: string): Promise<string[]> {
  return (await checkout.ask(['ls-tree', '-r', '--name-only', '-z', sha])).split('\0').filter(isMigration)
}

/**
 * Dokku's predeploy only migrates forward: the older code would meet the newer schema.
 * @param newestBackup asked only when it is needed
 * @returns what stands between, in lines; none when the way is free
 */
export async function describeCrossing(
  checkout: Checkout,
  {
    app,
    target,
    current,
    newestBackup,
  }: { app: string; target: string; current: string; newestBackup(): Promise<string> },
): Promise<string[]> {
  if (target === current) return []
  const crossed = await migrationsAcross(checkout, target, current)
  if (crossed === undefined)
    return [`${shortSha(current)}, which runs, could not be fetched: whether migrations are in the way can't be told.`]
  if (crossed.length === 0) return []
  const [left, known] = [await migrationsOf(checkout, target), await migrationsOf(checkout, current)]
  const commands = undoCommands(app, crossed, left, new Set(known), await labelsOf(checkout, current, crossed))
  return [
    `The way from ${shortSha(current)} to ${shortSha(target)} crosses ${plural(crossed.length, 'migration')}, which Dokku does not undo:`,
    ...crossed.map(({ path, how }) => `  ${path} (${how})`),
    'Undone on the server, while the newer code still runs (what they added is lost with them):',
    ...commands.map((command) => `  ${command}`),
    `Newest backup: ${await newestBackup()}`,
  ]
}

export function crossingFailure(lines: readonly string[]): Failure {
  return new Failure(
    `${lines.join('\n')}\nNothing was pushed.`,
    'When they are undone, or if the older code gets on with the newer schema, type the same with --allow-migrations.',
  )
}
