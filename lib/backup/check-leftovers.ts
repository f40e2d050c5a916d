// The lines of `backup --check` about what restores have left on the server, and what room it takes.

import { bytes, plural } from '../core/format.ts'
import { sqlLine } from '../dokku/by-hand.ts'
import type { Dokku, Service } from '../dokku/dokku.ts'
import { databaseBytes } from '../postgres/sql.ts'
import { listKept } from '../postgres/swap.ts'
import { attempt, type CheckLine, pass, warn } from './check-line.ts'

/** More of them than that take room that nobody looks after. */
const MANY = 2

export async function leftoverChecks(dokku: Dokku, production: Service): Promise<CheckLine[]> {
  const lines = await Promise.all([
    keptCheck(dokku, production),
    production.away ? [] : testServiceCheck(dokku, `${production.name}-test`),
  ])
  return lines.flat()
}

function keptCheck(dokku: Dokku, production: Service): Promise<CheckLine> {
  const name = 'kept databases'
  return attempt(name, async () => {
    const kept = await listKept(dokku, production)
    if (kept.length === 0) return pass(name, 'none')
    const total = kept.reduce((sum, { bytes: size }) => sum + size, 0)
    const each = kept.map(({ name: database, bytes: size }) => `${database} ${bytes(size)}`).join(', ')
    const detail = `${plural(kept.length, 'database')} of before a restore, ${bytes(total)}: ${each}`
    return kept.length < MANY
      ? pass(name, detail)
      : warn(
          name,
          detail,
          `What is in one: restore --undo --dry-run. To drop one: ${sqlLine(production, `DROP DATABASE "${kept.at(-1)?.name}";`)}`,
        )
  })
}

async function testServiceCheck(dokku: Dokku, service: string): Promise<CheckLine[]> {
  const name = 'test service'
  if (!(await dokku.exists(service).catch(() => false))) return []
  const line = await attempt(name, async () => {
    const size = bytes(await databaseBytes(dokku, await dokku.service(service)))
    return warn(
      name,
      `${service} is left, ${size}: of restore --test, or of a run that was killed`,
      `If nobody needs it: sudo dokku postgres:destroy ${service} --force`,
    )
  })
  return [line]
}
