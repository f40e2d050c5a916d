// The lines of `backup --check` about a database away from Dokku: whether its connection is safe, and whether a restore could replace it.

import { aText, orNull } from '../core/outside.ts'
import type { Dokku, Service } from '../dokku/dokku.ts'
import { surveyGround } from '../postgres/ground.ts'
import { rows } from '../postgres/sql.ts'
import { attempt, type CheckLine, pass, warn } from './check-line.ts'

export async function awayChecks(dokku: Dokku, production: Service): Promise<CheckLine[]> {
  const lines = await Promise.all([
    encryptionCheck(dokku, production),
    replaceCheck(dokku, production),
    extensionCheck(dokku, production),
  ])
  return lines.flat()
}

const VERSION = 'SELECT to_json(version) FROM pg_stat_ssl WHERE pid = pg_backend_pid();'

function encryptionCheck(dokku: Dokku, production: Service): Promise<CheckLine> {
  const name = 'encryption'
  const mode = production.away?.parameters.sslmode ?? 'prefer'
  const fix =
    "Download the provider's certificate authority, and write into DATABASE_URL: ?sslmode=verify-full&sslrootcert=/FILE"
  return attempt(name, async () => {
    const [version] = await rows(dokku, production, VERSION, orNull(aText))
    if (!version)
      return warn(name, 'the connection to the database is not encrypted: whoever is in between reads all data', fix)
    return mode.startsWith('verify-')
      ? pass(name, `${version}, and the server's certificate is checked (sslmode=${mode})`)
      : warn(name, `${version}, but nobody checks that it is the right server (sslmode=${mode})`, fix)
  })
}

/** A night works without these rights. */
function replaceCheck(dokku: Dokku, production: Service): Promise<CheckLine> {
  const name = 'replacing'
  return attempt(name, async () => {
    const { obstacles } = await surveyGround(dokku, production)
    return obstacles.length === 0
      ? pass(name, `the role ${production.away?.user} may make and rename databases, as a restore does`)
      : warn(
          name,
          `a restore can't replace the database: ${obstacles.join('. And ')}`,
          'Until then, by hand: docs/growing.md',
        )
  })
}

const EXTENSIONS = `SELECT to_json(extname) FROM pg_extension
  JOIN pg_available_extension_versions v ON v.name = extname AND v.version = extversion
  WHERE superuser AND NOT trusted AND current_setting('is_superuser') <> 'on' ORDER BY 1 ::text;`

async function extensionCheck(dokku: Dokku, production: Service): Promise<CheckLine[]> {
  const name = 'extensions'
  const found: string[] = []
  const line = await attempt(name, async () => {
    found.push(...(await rows(dokku, production, EXTENSIONS, aText)))
    return warn(
      name,
      `${found.join(', ')}: only a superuser may make it, unless the provider lets this role; a restore needs that`,
      'If it may not, a restore fails before production is touched: docs/growing.md',
    )
  })
  return found.length > 0 || line.verdict === 'fail' ? [line] : []
}
