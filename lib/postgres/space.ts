import type { Item } from '../borg/output.ts'
import { Failure } from '../core/failure.ts'
import { bytes } from '../core/format.ts'
import type { Service } from '../dokku/dokku.ts'
import type { Restore } from '../restore/restore.ts'
import { rows } from './sql.ts'

/** Whether production's server has room for the two copies that a restore makes beside it. */
export async function databaseSpace(
  { dokku }: Restore,
  service: Service,
  dump: Item,
): Promise<{ needed: number; free: number | undefined }> {
  const [production] = await rows<{ bytes: number; folder: string }>(
    dokku,
    service.name,
    "SELECT json_build_object('bytes', pg_database_size(current_database()), 'folder', current_setting('data_directory'));",
  )
  if (!production)
    throw new Failure(
      `PostgreSQL does not say how large ${service.database} is.`,
      `Look: sudo dokku postgres:connect ${service.name}`,
    )
  const needed = 2 * Math.max(production.bytes, dump.sizeBytes)
  const output = await dokku.run(['postgres:enter', service.name, 'df', '-Pk', production.folder])
  const available = /^\S.*?\s\d+\s+\d+\s+(\d+)\s+\d+%/m.exec(output.stdout)?.[1]
  return { needed, free: output.exitCode === 0 && available !== undefined ? Number(available) * 1024 : undefined }
}

export async function requireDatabaseSpace(restore: Restore, service: Service, dump: Item): Promise<void> {
  const { needed, free } = await databaseSpace(restore, service, dump)
  if (free === undefined)
    restore.context.log.warn(`How much room the disk of ${service.name} has could not be found out.`)
  else if (free < needed)
    throw new Failure(
      `The restore needs ${bytes(needed)} for two copies of the database, but only ${bytes(free)} are free.`,
      `Make room: databases kept by earlier restores are listed by restore --undo, images by: sudo docker system df`,
    )
}
