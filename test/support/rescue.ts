// A rescue of rows without Borg: production, and beside it a database as it was before the damage, as an import leaves it.
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { createClosing } from '../../lib/cli/closing.ts'
import { createAsk } from '../../lib/cli/prompt.ts'
import { readSettings } from '../../lib/cli/settings.ts'
import { Failure } from '../../lib/core/failure.ts'
import { createLog } from '../../lib/core/log.ts'
import { createShell } from '../../lib/core/shell.ts'
import { createDokku, type Service } from '../../lib/dokku/dokku.ts'
import type { Restore } from '../../lib/restore/restore.ts'
import { prepareComparison, sendEarly } from '../../lib/restore/rows/comparison.ts'
import { rescueFrom } from '../../lib/restore/rows/rescue.ts'
import { readWish } from '../../lib/restore/rows/wanted.ts'
import { programs } from './borg.ts'
import type { Sandbox } from './sandbox.ts'

/** What a rescue said. */
interface Rescued {
  exitCode: number
  stdout: string
  /** The log; at its end the failure's message, and its hint. */
  stderr: string
  hint: string
}

interface RescueOptions {
  where?: string
  flags?: readonly string[]
  /** Done when production's keys were sent, as if while the archive is imported. */
  meanwhile?: () => Promise<unknown>
}

/** Two databases of a test's own. */
export interface Accident {
  production: Service
  /** Asks production; `restoring` the database beside it. */
  sql(text: string, restoring?: 'restoring'): Promise<string>
  rescue(tables: string, options?: RescueOptions): Promise<Rescued>
}

let count = 0

/**
 * @param before makes production as it is in the archive
 * @param damage what happens to it then
 */
export async function accident(sandbox: Sandbox, before: string, damage = ''): Promise<Accident> {
  const database = `case_${++count}`
  const production = { name: sandbox.service, database }
  const sql: Accident['sql'] = (text, restoring) =>
    sandbox.sql(`\\c ${database}${restoring ? '_restoring' : ''}\n${text}`)
  await sandbox.sql(`CREATE DATABASE ${database};
\\c ${database}
${before}
\\c ${sandbox.database}
CREATE DATABASE ${database}_restoring TEMPLATE ${database};
\\c ${database}
${damage}`)
  let rescued = 0
  return {
    production,
    sql,
    rescue: async (tables, options) => {
      // As an import would find it.
      if (rescued++ > 0)
        await sql(
          'SET default_transaction_read_only = off; SET statement_timeout = 0; DROP SCHEMA IF EXISTS "book-corners-ops" CASCADE;',
          'restoring',
        )
      return rescue(sandbox, production, tables, options)
    },
  }
}

async function rescue(
  sandbox: Sandbox,
  production: Service,
  tables: string,
  { where, flags = ['yes'], meanwhile }: RescueOptions = {},
): Promise<Rescued> {
  const { said, log } = listen()
  const values = { rows: tables, ...(where === undefined ? {} : { where }) }
  const restore = restoreIn(sandbox, { flags, log, values })
  const archive = { name: 'book-corners-2026-02-28T03:00:01' }
  try {
    const wish = readWish(values)
    const comparison = await prepareComparison(restore, production, wish)
    await sendEarly(restore, comparison)
    await meanwhile?.()
    return { exitCode: await rescueFrom(restore, comparison, archive), ...said, hint: '' }
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    return { exitCode: error.exitCode, stdout: said.stdout, stderr: `${said.stderr}${error.message}`, hint: error.hint }
  }
}

/** A log, and what was said to it so far. */
export function listen(): { said: { stdout: string; stderr: string }; log: Restore['context']['log'] } {
  const said = { stdout: '', stderr: '' }
  const target = (name: keyof typeof said): NodeJS.WriteStream =>
    ({
      write: (text: string) => {
        said[name] += text
      },
    }) as unknown as NodeJS.WriteStream
  return { said, log: createLog(target('stderr'), { stdout: target('stdout') }) }
}

/** What a restore works with in a sandbox. */
export function restoreIn(
  sandbox: Sandbox,
  {
    flags,
    log,
    values = {},
    more = {},
  }: {
    flags: readonly string[]
    log: Restore['context']['log']
    values?: Restore['context']['values']
    /** Settings. */
    more?: Record<string, string>
  },
): Restore {
  const { signal } = new AbortController()
  const shell = createShell({ PATH: programs(), HOME: sandbox.home }, signal)
  const shells = { shell, cleanup: shell }
  const environment = { BORG_REPO: sandbox.repository, BORG_PASSPHRASE: 'none', MEDIA_DIR: sandbox.mediaDir, ...more }
  const { uid, gid, username } = userInfo()
  const given = new Set(flags)
  const context = {
    ...shells,
    ...{ log, environment, flags: given, values, argument: undefined, interactive: false },
    closing: createClosing(),
    workedMs: () => 0,
    envFile: { path: '', values: {}, problems: [] },
    print: log.print,
    printJson: log.printJson,
    ask: createAsk(given.has('yes'), { interactive: false }, signal, log),
  } as unknown as Restore['context']
  return {
    context,
    settings: readSettings(['DOKKU_APP', 'DB_SERVICE', 'SITE_URL'], environment, context.envFile),
    dokku: createDokku(shells, [join(sandbox.dir, 'bin/dokku')]),
    note: () => {},
    user: { uid, gid, name: username },
    database: true,
    media: false,
  } as unknown as Restore
}
