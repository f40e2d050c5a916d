// The lines of `backup --check` about what restores have left on the server, and what room it takes.

import { basename } from 'node:path'
import { bytes, plural } from '../core/format.ts'
import { quoteAll } from '../core/quote.ts'
import type { Env } from '../core/shell.ts'
import { momentAgo } from '../core/times.ts'
import type { Dokku, Service } from '../dokku/dokku.ts'
import { findRestoring } from '../postgres/scratch.ts'
import { databaseBytes } from '../postgres/sql.ts'
import { dropLine, listKept, restoringOf } from '../postgres/swap.ts'
import { commandOf, findWayBacks } from '../postgres/way-backs.ts'
import { attempt, type CheckLine, pass, warn } from './check-line.ts'

/** More of them than that take room that nobody looks after. */
const MANY = 2

/** @param env of this machine's user, whose state folder has the files of `restore --rows` */
export async function leftoverChecks(env: Env, dokku: Dokku, production: Service): Promise<CheckLine[]> {
  const lines = await Promise.all([
    keptCheck(dokku, production),
    wayBacksCheck(env, dokku, production),
    restoringCheck(dokku, production),
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
    const drop = ['When all is well, drop it:', ...kept.map((database) => dropLine(production, database))]
    const fix = `What is in it: restore --undo --dry-run. ${drop.join(kept.length > 1 ? '\n' : ' ')}`
    return kept.length < MANY ? { ...pass(name, detail), fix } : warn(name, detail, fix)
  })
}

async function wayBacksCheck(env: Env, dokku: Dokku, production: Service): Promise<CheckLine[]> {
  const name = 'brought-back rows'
  const line = await attempt(name, async () => {
    const files = await findWayBacks(env, dokku, production)
    const [newest] = files
    if (!newest) return
    const gone = files.filter(({ state }) => state === 'gone')
    const others = files.filter(({ state }) => state !== 'gone')
    const useless = files.filter(({ state }) => state === 'useless').length
    const detail = [
      `${plural(files.length, 'file')} of restore --rows, the newest ${basename(newest.path)}`,
      `${momentAgo(newest.at)}, from ${newest.archive}: ${newest.inserted.join(', ')}`,
    ].join(', ')
    const dead = [
      ...(gone.length > 0 ? [`${gone.length} with no row that is in production any more`] : []),
      ...(useless > 0 ? [`${useless} of no use now: another database is production`] : []),
    ]
    const remove = (some: typeof files): string => quoteAll(['rm', ...some.map(({ path }) => path)])
    const fix = [
      ...(newest.state === 'usable'
        ? [`To take the rows of the newest out again: ${commandOf(production, newest.path)}`]
        : []),
      ...(useless < files.length ? ['What is in each: restore --undo --dry-run'] : []),
      ...(gone.length > 0 ? [`What has no row in production any more: ${remove(gone)}`] : []),
      ...(others.length > 0 ? [`When nobody will want that: ${remove(others)}`] : []),
    ]
    return { ...pass(name, [detail, ...dead].join('; ')), fix: fix.join('\n') }
  })
  return line ? [line] : []
}

async function restoringCheck(dokku: Dokku, production: Service): Promise<CheckLine[]> {
  const name = 'unfinished'
  const line = await attempt(name, async () => {
    const found = await findRestoring(dokku, production)
    if (!found) return
    return warn(
      name,
      `${restoringOf(production).database} is there, ${bytes(found.bytes)}: of a restore at work, or of one that was killed`,
      'If none is at work: the next restore clears it',
    )
  })
  return line ? [line] : []
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
