// The database migrations between two releases: Dokku does not undo them.

import { Failure } from '../core/failure.ts'
import { plural } from '../core/format.ts'
import { quoteAll } from '../core/quote.ts'
import { shortSha } from '../core/sha.ts'
import type { Deployment } from '../deploy/deployment.ts'
import { type Checkout, fileOf, hasCommit, isAncestor } from '../git/checkout.ts'
import {
  type ChangedMigration,
  changedMigrations,
  isMigration,
  labelOf,
  type MigrationModules,
  migrationModules,
} from '../git/migrations.ts'

/**
 * The migrations that going from what runs (`current`) to `target` crosses: files that only `current` has, or has otherwise. Those
 * that only the target has count when it is the older of the two; a newer target brings them, as any deploy does.
 * @returns undefined when one of the commits is not in this checkout
 */
export async function migrationsAcross(
  checkout: Checkout,
  target: string,
  current: string,
): Promise<ChangedMigration[] | undefined> {
  if (!(await hasCommit(checkout, target)) || !(await hasCommit(checkout, current))) return
  return migrationsBetween(checkout, target, current)
}

/** The same of two commits that are in this checkout. */
export async function migrationsBetween(
  checkout: Checkout,
  target: string,
  current: string,
): Promise<ChangedMigration[]> {
  const crossed = await changedMigrations(checkout, target, current)
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

/** What it takes to say how the migrations between two releases are undone. */
interface Crossing {
  crossed: readonly ChangedMigration[]
  /** The migration files of the target. */
  left: readonly string[]
  /** Those of the code that runs. */
  known: ReadonlySet<string>
  /** Labels of the apps by their migrations' folder, where the label is not the name of the app's own folder. */
  labels: ReadonlyMap<string, string>
}

/** Pure: for each of the site's apps, the command that takes its migrations back while the newer code, which knows how, still runs. */
export function undoCommands(app: string, { crossed, left, known, labels }: Crossing): string[] {
  const folders = [...new Set(crossed.map(({ path }) => folderOf(path)))].sort()
  return folders.map((folder) => {
    const namesOf = (paths: readonly string[]): string[] =>
      paths
        .filter((path) => folderOf(path) === folder)
        .map(nameOf)
        .sort()
    const crossedBy = (how: ChangedMigration['how']): string[] =>
      namesOf(crossed.filter((one) => one.how === how).map(({ path }) => path))
    const last = namesOf(left).at(-1)
    // A name that the running code does not know, or knows with another content, can't be gone back to.
    const unsure = [...crossedBy('changed'), ...namesOf(left.filter((path) => !known.has(path)))]
    // Django takes back what depends on the named one, but not another branch that was merged with it.
    const beside = crossedBy('added').filter((name) => numberOf(name) <= numberOf(last ?? ''))
    const label = labels.get(folder) ?? folder.split('/').at(-2) ?? folder
    const manage = (...words: string[]): string =>
      quoteAll(['sudo', 'dokku', 'enter', app, 'web', 'python', 'manage.py', ...words])
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
  crossed: readonly ChangedMigration[],
  modules: MigrationModules,
): Promise<ReadonlyMap<string, string>> {
  const labels = new Map<string, string>()
  for (const folder of new Set(crossed.map(({ path }) => folderOf(path)))) {
    const apps = await fileOf(checkout, sha, folder.replace(/(^|\/)[^/]*migrations$/, '$1apps.py'))
    const label = labelOf(folder, modules) ?? /^[ \t]+label\s*=\s*['"](\w+)['"]/m.exec(apps ?? '')?.[1]
    if (label !== undefined) labels.set(folder, label)
  }
  return labels
}

async function migrationsOf(checkout: Checkout, sha: string, modules: MigrationModules): Promise<string[]> {
  const paths = (await checkout.askOnce(['ls-tree', '-r', '--name-only', '-z', sha])).split('\0')
  return paths.filter((path) => isMigration(path, modules))
}

/**
 * What is in the way to another release. Dokku's predeploy only migrates forward: the older code would meet the newer schema.
 * @param archives what to restore, in lines; asked only when it is needed
 * @returns lines for the operator; none when no migration is in the way
 */
export async function describeCrossing(
  { checkout, app }: Deployment,
  target: string,
  current: string,
  archives: (crossed: readonly ChangedMigration[]) => Promise<string[]>,
): Promise<string[]> {
  if (target === current) return []
  const crossed = await migrationsAcross(checkout, target, current)
  if (crossed === undefined)
    return [`${shortSha(current)}, which runs, could not be fetched: whether migrations are in the way can't be told.`]
  if (crossed.length === 0) return []
  const modules = await migrationModules(checkout, target, current)
  const commands = undoCommands(app, {
    crossed,
    left: await migrationsOf(checkout, target, modules),
    known: new Set(await migrationsOf(checkout, current, modules)),
    labels: await labelsOf(checkout, current, crossed, modules),
  })
  return [
    `The way from ${shortSha(current)} to ${shortSha(target)} crosses ${plural(crossed.length, 'migration')}, which Dokku does not undo:`,
    ...crossed.map(({ path, how }) => `  ${path} (${how})`),
    'Undone on the server, while the newer code still runs (what they added is lost with them; not after the data was restored):',
    ...commands.map((command) => `  ${command}`),
    ...(await archives(crossed)),
  ]
}

export function crossingFailure(lines: readonly string[]): Failure {
  return new Failure(
    lines.join('\n'),
    'When they are undone or the data is restored, or if the older code gets on with the newer schema, type the same with --allow-migrations.',
  )
}
