// Whether what is backed up is what the app uses, as Dokku knows it.

import { realpath } from 'node:fs/promises'
import type { Settings } from '../cli/settings.ts'
import { firstOf } from '../core/format.ts'
import { linkedApps, mountedFolders, usedDatabase } from '../dokku/data.ts'
import type { Dokku, Service } from '../dokku/dokku.ts'
import { isWithin } from '../media/folder.ts'

/** An answer to it; without a `doubt` what stands in `known`, undefined when Dokku does not say. */
export interface SourceAnswer {
  known?: string
  doubt?: string
  fix: string
}

/** The database: an app that was linked to another service leaves the old one behind, whole and still. */
export async function askService(dokku: Dokku, app: string, { name, database, away }: Service): Promise<SourceAnswer> {
  if (away) return compareAddress(await usedDatabase(dokku, app), app, { name, database })
  const [apps, used] = await Promise.all([linkedApps(dokku, name), usedDatabase(dokku, app)])
  const fix = `See what it uses: sudo dokku postgres:app-links ${app}. Then set DB_SERVICE to that.`
  if (apps && !apps.includes(app))
    return { doubt: `${name} is not linked to ${app}: the app may use another database.`, fix }
  // In the name of a host there is neither a dot nor an underscore.
  if (used?.service !== undefined && used.service !== name.toLowerCase().replace(/[._]/g, '-'))
    return { doubt: `The DATABASE_URL of ${app} leads to ${used.service}, not to ${name}.`, fix }
  return apps ? { known: `${name} is linked to ${app}`, fix } : { fix }
}

/** The app may go through a pooler, at another host; the database's name is the same. */
function compareAddress(
  used: Awaited<ReturnType<typeof usedDatabase>>,
  app: string,
  { name, database }: Pick<Service, 'name' | 'database'>,
): SourceAnswer {
  const fix = `See what it uses: sudo dokku config:get ${app} DATABASE_URL. Then set DATABASE_URL to that in the env file.`
  if (used?.service !== undefined)
    return { doubt: `The DATABASE_URL of ${app} leads to Dokku's service ${used.service}, not to ${name}.`, fix }
  if (used !== undefined && used.database !== database)
    return { doubt: `The DATABASE_URL of ${app} leads to the database ${used.database}, not to ${database}.`, fix }
  return used === undefined ? { fix } : { known: `${app} uses the database ${database}`, fix }
}

/**
 * The photos: an app whose storage was mounted from another folder leaves the old one behind. Without a media folder it may
 * have folders for other things: that they are in no archive is known, and no doubt.
 */
export async function askMount(
  dokku: Dokku,
  { MEDIA_DIR, DOKKU_APP }: Settings<'MEDIA_DIR' | 'DOKKU_APP'>,
): Promise<SourceAnswer> {
  const mounted = await mountedFolders(dokku, DOKKU_APP)
  const fix = `Compare it with: sudo dokku storage:list ${DOKKU_APP}. Then set MEDIA_DIR.`
  if (MEDIA_DIR === null)
    return {
      ...(mounted && {
        known:
          mounted.length > 0
            ? `${firstOf(mounted)}: in no archive (MEDIA_DIR=none)`
            : `nothing is mounted into ${DOKKU_APP}`,
      }),
      fix,
    }
  if (!mounted || mounted.length === 0) return { fix }
  const [media = '', ...folders] = await Promise.all(
    [MEDIA_DIR, ...mounted].map((folder) => realpath(folder).catch(() => folder)),
  )
  return folders.some((folder) => isWithin(media, folder) || isWithin(folder, media))
    ? { known: `${MEDIA_DIR} is mounted into ${DOKKU_APP}`, fix }
    : { doubt: `${MEDIA_DIR} is not mounted into ${DOKKU_APP}: the app may keep its photos elsewhere.`, fix }
}
