// Brings these scripts to the server: a sync makes a release of them there.

import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Failure } from '../core/failure.ts'
import { sshLine } from '../core/host.ts'
import { lines } from '../core/lines.ts'
import type { Log } from '../core/log.ts'
import { VERSION } from '../core/version.ts'
import type { Remote } from './ssh.ts'
import { explainSsh, SshFailure } from './ssh-errors.ts'
import { sync } from './words.ts'

/** What a release of the ops scripts is made of. */
export const CONTENT = ['scripts', 'lib', 'package.json', 'package-lock.json', 'tsconfig.json'] as const

/** Where these scripts are: what is synced. */
export const PROJECT = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '')

/**
 * The name of the release that a project's content makes: 16 hex digits of a hash over what `sha256sum -z` says of every file.
 * Nothing of the machine is in it, so that CI and a laptop agree.
 */
export async function releaseId(project: string): Promise<string> {
  const paths = (await Promise.all(CONTENT.map((name) => pathsOf(project, name)))).flat().sort()
  const hash = createHash('sha256')
  for (const path of paths) {
    const digest = createHash('sha256').update(await readFile(join(project, path)))
    hash.update(`${digest.digest('hex')}  ./${path}\0`)
  }
  return hash.digest('hex').slice(0, 16)
}

/** The files of a folder of the project, or the one file of that name; from the project's folder. */
async function pathsOf(project: string, name: string): Promise<string[]> {
  try {
    const entries = await readdir(join(project, name), { recursive: true, withFileTypes: true })
    return entries
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(project.length + 1))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOTDIR') return [name]
    throw new Failure(`${join(project, name)} can't be read (${code}).`)
  }
}

export interface SyncResult {
  release: string
  /** False: that release was there already, and nothing was done. */
  changed: boolean
}

/**
 * Makes the server run these ops scripts: uploads them next to the current release, installs, proves that they run, then switches.
 * Whatever goes wrong, the current release stays.
 */
export async function syncRelease(
  remote: Remote,
  { opsDir, log, project = PROJECT }: { opsDir: string; log: Log; project?: string },
): Promise<SyncResult> {
  const release = await releaseId(project)
  const session = remote.start(sync(opsDir, release, VERSION))
  let answer = ''
  let uploadFailure: unknown
  for await (const line of lines(session)) {
    const [word = '', rest = ''] = split(line)
    if (word === 'unchanged' || word === 'switched') answer = word
    if (word === 'step') log.status(`Ops scripts: ${rest}`)
    if (word !== 'upload') continue
    log.status('Ops scripts: uploading')
    uploadFailure = await upload(remote, project, rest)
    if (uploadFailure) session.stdin.end()
    else session.stdin.write('uploaded\n')
  }
  const { exitCode, stderr } = await session.ended
  // An interruption ends the session as an error of ssh would.
  remote.signal.throwIfAborted()
  const lost = exitCode === 255 || exitCode === null
  // The session over the same connection lived on: to scp alone it was closed.
  if (uploadFailure instanceof SshFailure && uploadFailure.trouble === 'lost' && !lost)
    throw new Failure(
      'scp can upload nothing, though the connection stands.',
      'The server must have scp, too: apt-get install openssh-client',
    )
  if (uploadFailure) throw uploadFailure
  if (exitCode === 0 && answer) return { release, changed: answer === 'switched' }
  const trouble = lost ? explainSsh(stderr, remote.user, remote.host) : undefined
  if (trouble) throw trouble
  throw new Failure(
    `${exitCode === 124 ? 'it took too long: ' : ''}${sayWhy(stderr) || `the server's shell ended with ${exitCode}`}`,
    `Fix it, then: deploy --sync-only. By hand: ${sshLine(remote.user, remote.host)}`,
  )
}

function split(line: string): [string, string] {
  const at = line.indexOf(' ')
  return at < 0 ? [line, ''] : [line.slice(0, at), line.slice(at + 1)]
}

async function upload(remote: Remote, project: string, folder: string): Promise<unknown> {
  try {
    const { exitCode, stderr } = await remote.upload(
      CONTENT.map((name) => join(project, name)),
      folder,
    )
    if (exitCode === 0) return
    return new Failure(`scp failed (exit status ${exitCode}): ${sayWhy(stderr)}`, 'Try again: deploy --sync-only')
  } catch (error) {
    return error
  }
}

/** What a stderr says: the last plain lines, then npm's first errors, which name the cause. */
function sayWhy(stderr: string): string {
  const said = stderr.split('\n').map((line) => line.trim())
  const plain = said.filter((line) => line !== '' && !/^npm /i.test(line))
  const npm = said.filter((line) => /^npm error \S/i.test(line) && !/complete log of this run/.test(line))
  return [...plain.slice(-3), ...npm.slice(0, 3)].join(' · ')
}
