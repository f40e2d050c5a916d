// Where an app's data is, as Dokku knows it: its Postgres services and its mounted folders. Undefined is what Dokku does not say.

import { type Dokku, parseDatabase } from './dokku.ts'

const ANSWER_MS = 60_000

async function ask(dokku: Dokku, args: readonly string[]): Promise<string | undefined> {
  try {
    const { exitCode, stdout } = await dokku.run(args, { timeoutMs: ANSWER_MS })
    return exitCode === 0 ? stdout : undefined
  } catch {
    return undefined
  }
}

/** The apps that are linked to a Postgres service. */
export async function linkedApps(dokku: Dokku, service: string): Promise<string[] | undefined> {
  // A name a line; some versions of the plugin print `-` for none.
  return (await ask(dokku, ['postgres:links', service]))?.split(/\s+/).filter((app) => /^[a-z0-9]/.test(app))
}

/**
 * The database that the app's DATABASE_URL leads to, and the Postgres service, if it is of one: a link of a second one,
 * promoted, changes it and leaves the first link as it is. Only names leave here: the address holds the password.
 */
export async function usedDatabase(
  dokku: Dokku,
  app: string,
): Promise<{ service: string | undefined; database: string } | undefined> {
  const address = (await ask(dokku, ['config:get', app, 'DATABASE_URL'])) ?? ''
  const database = parseDatabase(address)
  if (database === undefined) return undefined
  return { service: /^dokku-postgres-(.+)$/.exec(new URL(address.trim()).hostname)?.[1], database }
}

/** The folders of this machine that are mounted into the app. */
export async function mountedFolders(dokku: Dokku, app: string): Promise<string[] | undefined> {
  // `/folder/here:/folder/there`, a line each; what is no folder is a volume of Docker's.
  return (await ask(dokku, ['storage:list', app]))
    ?.split('\n')
    .map((line) => line.trim().split(':')[0] ?? '')
    .filter((folder) => folder.startsWith('/'))
}
