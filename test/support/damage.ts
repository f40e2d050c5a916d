// A production database that somebody wants undone: rows gone, and a newer table that references an old one.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Running } from './launch.ts'
import { type Sandbox, seed } from './sandbox.ts'

/** Libraries and photos, as `counts` gives them: of the archive, and of the damaged database. */
export const OLD = '300|10'
export const DAMAGED = '120|0'

/** Fills a new sandbox, backs it up, and damages it. Returns the archive's name. @param more SQL for what else is in the archive */
export async function backUpAndDamage(sandbox: Sandbox, more = ''): Promise<string> {
  await seed(sandbox, { libraries: 300, photos: 10 })
  if (more) await sandbox.sql(more)
  await sandbox.configure({ CHECK_EVERY_DAYS: '0' })
  const plain = { KEEP_APP_CONFIG: 'no', PRUNE: 'no' }
  const { stdout, stderr } = await sandbox.script('backup.ts', ['--json'], { env: plain })
  if (stdout === '') throw new Error(stderr)
  await damage(sandbox)
  return JSON.parse(stdout).archive
}

const DAMAGE = `
  SET client_min_messages = error;
  DROP TABLE IF EXISTS newer;
  DELETE FROM libraries_photo; DELETE FROM libraries_library WHERE id > 120;
  CREATE TABLE newer (id serial PRIMARY KEY, library_id int NOT NULL REFERENCES libraries_library);
  INSERT INTO newer (library_id) SELECT id FROM libraries_library;`
const COUNT = 'SELECT (SELECT count(*) FROM libraries_library), (SELECT count(*) FROM libraries_photo);'
/** SQL that drops the databases beside production. */
export const DROP_OTHERS = `SELECT format('DROP DATABASE %I WITH (FORCE)', datname) FROM pg_database
  WHERE datname NOT IN (current_database(), 'postgres', 'template0', 'template1')
  \\gexec`

export async function damage(sandbox: Sandbox): Promise<void> {
  await sandbox.sql(DAMAGE)
}

/** Back to the damaged state, whatever a test has left. */
export async function reset(sandbox: Sandbox): Promise<void> {
  // Mostly production is as in the archive, or as it was damaged.
  const state = await sandbox.sql(`${DROP_OTHERS}\n${DAMAGE}\n${COUNT}`).catch(() => '')
  if (state !== DAMAGED) {
    await sandbox.sql(`${DROP_OTHERS}\nDROP SCHEMA public CASCADE; CREATE SCHEMA public;`)
    await seed(sandbox, { libraries: 300, photos: 10 })
    await damage(sandbox)
  }
  await rm(held(sandbox), { force: true })
}

export async function counts(sandbox: Sandbox): Promise<string> {
  for (;;) {
    try {
      return await sandbox.sql(COUNT)
    } catch (error) {
      // The swap of a run that was killed may still be sending everybody away.
      if (!/terminating connection due to administrator command/.test(String(error))) throw error
    }
  }
}

export async function databases(sandbox: Sandbox): Promise<string[]> {
  return (
    await sandbox.sql(
      "SELECT datname FROM pg_database WHERE datname NOT IN ('postgres', 'template0', 'template1') ORDER BY 1;",
    )
  ).split('\n')
}

export async function services(sandbox: Sandbox): Promise<string> {
  return (await sandbox.dokku(['postgres:list'])).stdout.trim()
}

/** Somebody who holds a lock that keeps a database's name as it is: nothing renames it or copies it. */
export async function holdName(sandbox: Sandbox, database: string): Promise<{ letGo: () => void }> {
  const client = spawn(join(sandbox.dir, 'bin/dokku'), ['postgres:connect', sandbox.service])
  client.stdin.write(`\\set QUIET on\n\\c postgres\nBEGIN;\nCOMMENT ON DATABASE ${database} IS 'held';\n\\echo held\n`)
  await once(client.stdout, 'data')
  return { letGo: () => client.stdin.end('ROLLBACK;\n') }
}

/** The file that says that a program of the container, or of Dokku, has reached a step. */
export function held(sandbox: Sandbox): string {
  return join(sandbox.dir, 'services', sandbox.service, 'held')
}

/** A shell snippet that says that the step is reached, and stays there a while. */
export function hold(sandbox: Sandbox): string {
  return `touch "${held(sandbox)}"; sleep 1.5`
}

/** Waits until a session of the server is like this, as long as the script runs. */
export async function activity(sandbox: Sandbox, run: Running, condition: string): Promise<void> {
  const isSo = `SELECT FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND ${condition}`
  const waiting = sandbox.sql(`\\c postgres
    DO $$ BEGIN
      FOR i IN 1..3000 LOOP
        IF EXISTS (${isSo}) THEN RETURN; END IF;
        PERFORM pg_sleep(0.02), pg_stat_clear_snapshot();
      END LOOP;
      RAISE 'not within a minute';
    END $$;`)
  const ended = run.ended.then(({ stderr }) => Promise.reject(new Error(`it never came to: ${condition}: ${stderr}`)))
  await Promise.race([waiting, ended])
}
