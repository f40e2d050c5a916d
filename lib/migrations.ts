import { Failure } from './failure.ts'
import { plural } from './format.ts'
import { type Checkout, hasCommit, isAncestor, isMigration, short } from './git.ts'
import { quoteAll } from './ssh.ts'

/** A migration file in which two commits differ. */
export interface Crossed {
  path: string
  /** `added`: only what runs has it; `changed`: both have it; `deleted`: only the target has it. */
  how: 'added' | 'changed' | 'deleted'
}

const HOW: Record<string, Crossed['how']> = { A: 'added', M: 'changed', T: 'changed', D: 'deleted' }

/** Pure: what `git diff --name-status -z` from the target to what runs printed. */
export const parseCrossed = (stdout: string): Crossed[] => {
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
export const migrationsAcross = async (
  checkout: Checkout,
  target: string,
  current: string,
): Promise<Crossed[] | undefined> => {
  if (!(await hasCommit(checkout, target)) || !(await hasCommit(checkout, current))) return
  const crossed = parseCrossed(
    await checkout.ask(['diff', '--name-status', '--no-renames', '-z', target, current, '--']),
  )
  if (!crossed.some(({ how }) => how === 'deleted') || (await isAncestor(checkout, target, current))) return crossed
  return crossed.filter(({ how }) => how !== 'deleted')
}

const folderOf = (path: string): string => path.slice(0, path.lastIndexOf('/'))
const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1).replace(/\.py$/, '')

/**
 * Pure: per app, the command that takes its migrations back while the newer code, which knows how, still runs.
 * @param left the migration files of the target
 */
export const undoCommands = (app: string, crossed: readonly Crossed[], left: readonly string[]): string[] => {
  const folders = [...new Set(crossed.map(({ path }) => folderOf(path)))].sort()
  return folders.map((folder) => {
    const here = crossed.filter(({ path }) => folderOf(path) === folder)
    const label = folder.split('/').at(-2) ?? folder
    // A name that the running code does not know, or gives another meaning, is none to go back to.
    const others = here.filter(({ how }) => how !== 'added').map(({ path }) => nameOf(path))
    if (others.length > 0)
      return `# ${label}: ${others.join(', ')} changed or gone, so no one command undoes it; see: sudo dokku run ${app} python manage.py showmigrations ${label}`
    const last = left
      .filter((path) => folderOf(path) === folder)
      .map(nameOf)
      .sort()
      .at(-1)
    return quoteAll(['sudo', 'dokku', 'run', app, 'python', 'manage.py', 'migrate', label, last ?? 'zero'])
  })
}

const migrationsOf = async (checkout: Checkout, sha: string): Promise<string[]> =>
  (await checkout.ask(['ls-tree', '-r', '--name-only', '-z', sha])).split('\0').filter(isMigration)

/**
 * Dokku's predeploy only migrates forward: the older code would meet the newer schema.
 * @param newestBackup asked only when it is needed
 * @returns what stands between, in lines; none when the way is free
 */
export const describeCrossing = async (
  checkout: Checkout,
  {
    app,
    target,
    current,
    newestBackup,
  }: { app: string; target: string; current: string; newestBackup(): Promise<string> },
): Promise<string[]> => {
  if (target === current) return []
  const crossed = await migrationsAcross(checkout, target, current)
  if (crossed === undefined)
    return [`${short(current)}, which runs, could not be fetched: whether migrations are in the way can't be told.`]
  if (crossed.length === 0) return []
  const commands = undoCommands(app, crossed, await migrationsOf(checkout, target))
  return [
    `The way from ${short(current)} to ${short(target)} crosses ${plural(crossed.length, 'migration')}, which Dokku does not undo:`,
    ...crossed.map(({ path, how }) => `  ${path} (${how})`),
    'Undone on the server, while the newer code still runs (what they added is lost with them):',
    ...commands.map((command) => `  ${command}`),
    `Newest backup: ${await newestBackup()}`,
  ]
}

export const crossingFailure = (lines: readonly string[]): Failure =>
  new Failure(
    `${lines.join('\n')}\nNothing was pushed.`,
    'When they are undone, or if the older code gets on with the newer schema, type the same with --allow-migrations.',
  )
