// Which files of a commit are Django migrations.

import { type Checkout, changedFiles, fileOf } from './checkout.ts'

/** Folders of migrations by their path, with the label of the app they belong to: what settings say in MIGRATION_MODULES. */
export type MigrationModules = ReadonlyMap<string, string>

/**
 * Pure: whether a path is that of a migration. In a folder `migrations`, and in one that the settings name, each module is; in another
 * one whose name ends like that, what is numbered as Django does it.
 */
export function isMigration(path: string, modules: MigrationModules = new Map()): boolean {
  const [, folder = '', name = ''] = /^(.*)\/([^/]+)\.py$/.exec(path) ?? []
  if (name === '' || name === '__init__') return false
  const isNumbered = /^\d{4,}_/.test(name)
  return (
    /(^|\/)migrations$/.test(folder) ||
    (isNumbered && /migrations$/.test(folder)) ||
    labelOf(folder, modules) !== undefined
  )
}

/** The label of the app whose migrations the settings put into a folder. The project need not be at the top of the repository. */
export function labelOf(folder: string, modules: MigrationModules): string | undefined {
  for (const [module, label] of modules) if (folder === module || folder.endsWith(`/${module}`)) return label
  return
}

/** Pure: what a settings module says, as a literal or one app at a time. */
export function parseMigrationModules(text: string): Map<string, string> {
  const dictionaries = [...text.matchAll(/\bMIGRATION_MODULES\b[^={}\n]*=\s*\{([^}]*)\}/g)].map(([, body = '']) => body)
  const pairs = [
    ...dictionaries.flatMap((body) => [...body.matchAll(/['"](\w+)['"]\s*:\s*['"]([\w.]+)['"]/g)]),
    ...text.matchAll(/\bMIGRATION_MODULES\[\s*['"](\w+)['"]\s*\]\s*=\s*['"]([\w.]+)['"]/g),
  ]
  return new Map(pairs.map(([, label = '', module = '']) => [module.replaceAll('.', '/'), label]))
}

/** What the settings of these commits say. */
export async function migrationModules(checkout: Checkout, ...shas: readonly string[]): Promise<MigrationModules> {
  const found = await checkout.once([
    'grep',
    '-l',
    '-z',
    '--full-name',
    '-w',
    'MIGRATION_MODULES',
    ...shas,
    '--',
    '*.py',
  ])
  const files = found.exitCode === 0 ? found.stdout.split('\0').filter(Boolean) : []
  const modules = new Map<string, string>()
  for (const file of files) {
    // `SHA:path`, as git grep names it.
    const colon = file.indexOf(':')
    const text = await fileOf(checkout, file.slice(0, colon), file.slice(colon + 1))
    for (const [module, label] of parseMigrationModules(text ?? '')) modules.set(module, label)
  }
  return modules
}

/** A migration file in which two commits differ. */
export interface ChangedMigration {
  path: string
  how: 'added' | 'changed' | 'deleted'
}

const HOW: Record<string, ChangedMigration['how']> = { A: 'added', M: 'changed', T: 'changed', D: 'deleted' }

/** Pure: those of the files that are migrations. @param changed each with git's letter for how */
export function migrationsAmong(
  changed: readonly (readonly [how: string, path: string])[],
  modules: MigrationModules = new Map(),
): ChangedMigration[] {
  return changed.flatMap(([letter, path]) => {
    const how = HOW[letter]
    return how && isMigration(path, modules) ? [{ path, how }] : []
  })
}

/** The migration files in which `to` differs from `from`: not those that one commit on the way adds and a later one removes. */
export async function changedMigrations(checkout: Checkout, from: string, to: string): Promise<ChangedMigration[]> {
  const changed = await changedFiles(checkout, from, to)
  // Only of a module's path the settings can say more than the path itself.
  const isInDoubt = changed.some(([, path]) => path.endsWith('.py') && !isMigration(path))
  return migrationsAmong(changed, isInDoubt ? await migrationModules(checkout, from, to) : new Map())
}
