// What is costly to make and the same for every test file is made once per run, in the run's own folder, and copied from there.
import { chmodSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { whenEnding } from './ending.ts'

/** How the runner of the tests tells each test file the folder. */
const VARIABLE = 'TEST_RUN_FOLDER'

/** Makes this run's folder. */
export function makeRunFolder(): void {
  process.env[VARIABLE] = makeFolder()
}

/** A folder which only this user can write to, and which is gone when this process ends. */
function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'bc-run-'))
  // PostgreSQL's own user passes through it.
  chmodSync(folder, 0o711)
  whenEnding(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** The run's, or one of this process, which is a benchmark or the demo. */
let own: string | undefined

/** Where the runner of the tests keeps what it compiled; undefined in a benchmark and the demo, which are on their own. */
export function compiledFolder(): string | undefined {
  const folder = process.env[VARIABLE]
  return folder === undefined ? undefined : join(folder, 'compiled')
}

/**
 * A folder that `make` fills the first time in a run that it is asked for. Never change what is in it: copy it.
 * @param make is given an empty folder that only this user can read.
 */
export function madeOnce(name: string, make: (folder: string) => void): string {
  own ??= process.env[VARIABLE] ?? makeFolder()
  const made = join(own, name)
  if (existsSync(made)) return made
  const making = `${made}.${process.pid}`
  mkdirSync(making, { mode: 0o700 })
  make(making)
  try {
    renameSync(making, made)
  } catch (error) {
    // Another test file was faster.
    if (!existsSync(made)) throw error
    rmSync(making, { recursive: true })
  }
  return made
}
