// A media folder, a Borg repository beside it, and what a restore does with both, without a script around it.
import { spawnSync } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createBorg } from '../../lib/borg/borg.ts'
import { initArgs } from '../../lib/borg/commands.ts'
import { eachItem } from '../../lib/borg/items.ts'
import { createLog } from '../../lib/core/log.ts'
import { createShell } from '../../lib/core/shell.ts'
import { createMediaComparison, type MediaPlan } from '../../lib/media/compare.ts'
import { restoreMedia } from '../../lib/media/extract.ts'
import { planPlacement } from '../../lib/media/place.ts'
import { programs } from './borg.ts'
import { OWNER } from './sandbox.ts'

/** Who restores. */
const USER = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, name: 'deploy' }
const [OWNER_UID = 0, OWNER_GID = 0] = OWNER.split(':').map(Number)
const ENV = { BORG_PASSPHRASE: 'x', BORG_SELFTEST: 'disabled', BORG_CHECK_I_KNOW_WHAT_I_AM_DOING: 'YES' }
const SILENT = createLog({ write: () => true } as unknown as NodeJS.WriteStream)

export interface MediaArchive {
  readonly dir: string
  /** Of the user who restores. */
  readonly home: string
  readonly media: string
  readonly repository: string
  /** Empties the media folder. */
  reset(): void
  /** Makes a folder of the app's user. */
  folder(path: string): void
  /** Writes a file into the media folder. @returns its path there */
  put(path: string, content?: string): string
  /** Makes an archive of the media folder as it is. */
  store(archive: string): void
  /** Runs a program. @returns what it prints */
  run(program: string, args: readonly string[]): string
  plan(archive: string): Promise<MediaPlan>
  restore(archive: string): Promise<{ placed: number; failed: string[]; refused: string[] }>
  remove(): void
}

export async function startMediaArchive(): Promise<MediaArchive> {
  const dir = mkdtempSync(join(tmpdir(), 'bc-media-'))
  chmodSync(dir, 0o755)
  const [home, media, repository] = [join(dir, 'home'), join(dir, 'media'), join(dir, 'repo')]
  mkdirSync(home, { mode: 0o700 })
  const shell = createShell({ PATH: programs(), HOME: home }, new AbortController().signal)
  const borg = createBorg(shell, ENV, repository, '/x/.env')
  await borg.call(initArgs())

  const folder = (path: string): void => {
    mkdirSync(path)
    chownSync(path, OWNER_UID, OWNER_GID)
  }
  const run: MediaArchive['run'] = (program, args) => {
    const { status, stdout, stderr } = spawnSync(program, args, {
      env: { ...process.env, ...ENV, PATH: programs(), HOME: home },
      encoding: 'utf8',
    })
    // Borg's 1 is a warning.
    if (status !== 0 && !(program === 'borg' && status === 1)) throw new Error(stderr)
    return stdout
  }
  const plan = async (archive: string): Promise<MediaPlan> => {
    const comparison = await createMediaComparison(media, true)
    await eachItem(borg, archive, [], comparison.add)
    return comparison.plan()
  }
  return {
    dir,
    home,
    media,
    repository,
    reset: () => {
      rmSync(media, { recursive: true, force: true })
      folder(media)
    },
    folder,
    put: (path, content = `content of ${path}`) => {
      mkdirSync(dirname(join(media, path)), { recursive: true })
      writeFileSync(join(media, path), content)
      return path
    },
    store: (archive) => {
      run('chown', ['-R', '-h', OWNER, media])
      run('borg', ['create', `${repository}::${archive}`, media])
    },
    run,
    plan,
    restore: async (archive) => {
      const planned = await plan(archive)
      const settings = { MEDIA_DIR: media, MEDIA_OWNER: OWNER, DUMP_STALL_SECONDS: 60 }
      const placement = await planPlacement({ shell, interactive: false }, settings, 1, USER)
      const restore = { context: { shell, log: SILENT }, settings, borg, user: USER }
      return { ...(await restoreMedia(restore, archive, planned, placement)), refused: planned.refused }
    },
    remove: () => rmSync(dir, { recursive: true }),
  }
}
