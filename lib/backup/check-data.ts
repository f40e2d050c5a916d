// The lines of `backup --check` about what is stored, and about what is there to be stored.

import { type ArchiveList, listArchives } from '../borg/archives.ts'
import type { Borg } from '../borg/borg.ts'
import { lastAcceptance } from '../borg/comment.ts'
import { describeSound, knownArchives } from '../borg/losses.ts'
import type { Archive } from '../borg/output.ts'
import { journalPath, readJournal } from '../cli/journal.ts'
import type { Context } from '../cli/main.ts'
import type { Settings } from '../cli/settings.ts'
import { readState, statePath } from '../cli/state.ts'
import type { DatabaseUrl } from '../core/database-url.ts'
import { Failure } from '../core/failure.ts'
import { bytes, firstOf, oneLine, plural } from '../core/format.ts'
import { quote } from '../core/quote.ts'
import { age } from '../core/times.ts'
import { createDokku, type Dokku, type Service } from '../dokku/dokku.ts'
import { type MediaSize, measureMedia, requireMediaDir } from '../media/folder.ts'
import { ANSWER_MS, databaseBytes, sql } from '../postgres/sql.ts'
import { surveyTables } from '../postgres/tables.ts'
import { readWrites, writtenBetween } from '../postgres/writes.ts'
import { collectAppConfig } from './app-config.ts'
import type { BACKUP_SETTINGS } from './backup.ts'
import { archiveChecks } from './check-archives.ts'
import { awayChecks } from './check-away.ts'
import { leftoverChecks } from './check-leftovers.ts'
import { A_NIGHT, type Asked, attempt, type CheckLine, fail, pass, warn } from './check-line.ts'
import { runChecks } from './history.ts'
import { askMount, askService, type SourceAnswer } from './sources.ts'
import { lackingNow } from './tonight.ts'

/** A line, and what it is about, if it is there. */
interface Finding<T> {
  line?: CheckLine
  found?: T
}

/**
 * What is asked, all at once; what needs the answer to something else waits for it.
 * @param borg undefined when Borg does not run
 * @param settings those that are right: what depends on another one is not asked
 * @param user who runs this
 */
export function dataChecks(
  context: Context,
  borg: Borg | undefined,
  settings: Partial<Settings<(typeof BACKUP_SETTINGS)[number] | 'VERIFY_SQL'>>,
  user: string,
): Asked[] {
  const { BORG_REPO, ARCHIVE_PREFIX, DOKKU_COMMAND, DOKKU_APP, DB_SERVICE, MEDIA_DIR } = settings
  const dokku = DOKKU_COMMAND && createDokku(context, DOKKU_COMMAND, settings.DATABASE_URL)
  const stored = borg && BORG_REPO && ARCHIVE_PREFIX ? findArchives(borg, ARCHIVE_PREFIX) : nothing<ArchiveList>()
  const database = dokku && DB_SERVICE ? findService(dokku, DB_SERVICE, settings.DATABASE_URL) : nothing<Service>()
  const media = MEDIA_DIR === undefined ? nothing<MediaSize | null>() : findMedia(MEDIA_DIR, user)
  const statePathOf = ({ name }: Service): string => statePath(context.shell.env, BORG_REPO ?? '', name)
  const inRepository = `the repository ${BORG_REPO}`
  const inDokku = settings.DATABASE_URL === undefined ? 'Dokku' : 'the database'
  const ofPoint = async (): Promise<CheckLine[]> => {
    const [{ found: service }, { found: archives }] = await Promise.all([database, stored])
    return dokku && BORG_REPO && service && archives ? pointCheck(dokku, service, archives, statePathOf(service)) : []
  }
  const ofService = async (): Promise<CheckLine[]> => {
    const { found: service } = await database
    if (!dokku || !DOKKU_APP || !service) return []
    const sources = { DOKKU_APP, DB_SERVICE: service.name, DATABASE_URL: settings.DATABASE_URL }
    const lines = await Promise.all([
      service.away ? awayChecks(dokku, service) : [],
      askService(dokku, DOKKU_APP, service).then((answer) => sourceCheck('service', answer)),
      settings.KEEP_APP_CONFIG ? appCheck({ context, dokku, settings: sources }) : [],
      leftoverChecks(context.shell.env, dokku, service),
      questionCheck(dokku, service, settings.VERIFY_SQL),
    ])
    return lines.flat()
  }
  const ofMount = async (): Promise<CheckLine[]> => {
    const { found: size } = await media
    if (!dokku || !DOKKU_APP || MEDIA_DIR === undefined || size === undefined) return []
    return [...(size ? linkCheck(size) : []), sourceCheck('mount', await askMount(dokku, { DOKKU_APP, MEDIA_DIR }))]
  }
  const asBefore = async (): Promise<CheckLine[]> => {
    const [{ found: archives }, { found: service }, { found: size }] = await Promise.all([stored, database, media])
    if (!borg || !dokku || !BORG_REPO || MEDIA_DIR === undefined || !archives || !service || size === undefined)
      return []
    const backup = { borg, settings: { MEDIA_DIR }, statePath: statePathOf(service) }
    const tables = await surveyTables(dokku, service).catch(onlyFailure)
    return compare(backup, archives.nights, size, tables)
  }
  const before = asBefore()
  return [
    [inRepository, stored.then(lineOf)],
    [inRepository, orAsBefore(ofArchives(context, borg, stored, settings), before)],
    [inDokku, database.then(lineOf)],
    [`the folder ${MEDIA_DIR}`, media.then(lineOf)],
    [inDokku, ofService()],
    [inDokku, ofMount()],
    [inRepository, ofPoint()],
    [inRepository, before],
    ['the journal', orAsBefore(lastRuns(context, settings), before)],
  ]
}

async function ofArchives(
  context: Context,
  borg: Borg | undefined,
  stored: Promise<Finding<ArchiveList>>,
  settings: Parameters<typeof archiveChecks>[3],
): Promise<CheckLine[]> {
  const { found } = await stored
  return borg && found ? archiveChecks(context, borg, found.nights, settings) : []
}

async function lastRuns(
  { shell }: Context,
  { BORG_REPO, DB_SERVICE }: Partial<Settings<'BORG_REPO' | 'DB_SERVICE'>>,
): Promise<CheckLine[]> {
  if (!BORG_REPO || !DB_SERVICE) return []
  return runChecks(await readJournal(journalPath(statePath(shell.env, BORG_REPO, DB_SERVICE))))
}

/**
 * While something is lacking, one more night would fail as the last one did, and only one line may say what to type.
 * @param before the line *as before*
 */
async function orAsBefore(found: Promise<CheckLine[]>, before: Promise<CheckLine[]>): Promise<CheckLine[]> {
  const lines = await found
  const asks = ({ fix }: CheckLine): boolean => Boolean(fix?.endsWith(A_NIGHT))
  if (!lines.some(asks) || !(await before).some(({ verdict }) => verdict === 'fail')) return lines
  return lines.map((line) => (asks(line) ? { ...line, fix: 'See *as before*: it says what to type' } : line))
}

function lineOf({ line }: Finding<unknown>): CheckLine[] {
  return line ? [line] : []
}

/** What a restore and a drill ask both databases: an answer that production does not give tells nothing of an archive. */
async function questionCheck(dokku: Dokku, service: Service, question: string | undefined): Promise<CheckLine[]> {
  const name = 'VERIFY_SQL'
  if (question === undefined) return []
  try {
    const answer = await sql(dokku, service, `${question.replace(/;\s*$/, '')}\n;`, { timeoutMs: ANSWER_MS })
    return [pass(name, `production answers ${oneLine(answer, 60) || 'nothing'}`)]
  } catch (error) {
    const { message } = onlyFailure(error)
    return [
      warn(
        name,
        `production can't answer it: ${message}`,
        'Set it to a question whose answer you know: docs/settings.md',
      ),
    ]
  }
}

/** Whether the archive will hold what an empty server needs. */
async function appCheck(sources: Parameters<typeof collectAppConfig>[0]): Promise<CheckLine> {
  const name = 'app configuration'
  const { variables, doubts } = await collectAppConfig(sources, undefined)
  const [doubt] = doubts
  return doubt === undefined
    ? pass(
        name,
        `${plural(variables, 'variable')} of ${sources.settings.DOKKU_APP}, and how it stands: each archive holds it`,
      )
    : warn(name, 'the archive lacks what an empty server needs', doubt)
}

async function nothing<T>(): Promise<Finding<T>> {
  return {}
}

function onlyFailure(error: unknown): Failure {
  if (error instanceof Failure) return error
  throw error
}

async function find<T>(name: string, look: () => Promise<[T, CheckLine]>): Promise<Finding<T>> {
  let found: { found?: T } = {}
  const line = await attempt(name, async () => {
    const [what, line] = await look()
    found = { found: what }
    return line
  })
  return { line, ...found }
}

function byStart(one: Archive, other: Archive): number {
  return other.start.getTime() - one.start.getTime()
}

function findArchives(borg: Borg, prefix: string): Promise<Finding<ArchiveList>> {
  return find('repository', async () => {
    const list = await listArchives(borg, prefix)
    const archives = [...list.nights, ...list.restorePoints].sort(byStart).map(({ name }) => name)
    return [list, { ...pass('repository', `${borg.repository} opens, its key can be read`), archives }]
  })
}

/** @param url of a database away from Dokku */
function findService(dokku: Dokku, name: string, url: DatabaseUrl | undefined): Promise<Finding<Service>> {
  const line = url ? 'database' : 'Dokku'
  return find(line, async () => {
    const service = await dokku.service(name)
    // Dokku knows a service that is stopped, too: only its database can tell.
    const size = await databaseBytes(dokku, service)
    const holds = `${service.away ? '' : 'may be called; '}${name} holds the database ${service.database}, ${bytes(size)}`
    return [service, pass(line, holds)]
  })
}

/** @param mediaDir null for none */
function findMedia(mediaDir: string | null, user: string): Promise<Finding<MediaSize | null>> {
  return find('media', async () => {
    if (mediaDir === null)
      return [null, pass('media', 'MEDIA_DIR=none: the archives hold the database alone, no photos')]
    await requireMediaDir(mediaDir)
    const size = await measureMedia(mediaDir)
    const { files, bytes: total, unreadable } = size
    return [
      size,
      unreadable.length > 0
        ? fail(
            'media',
            `${plural(unreadable.length, 'path')} in ${mediaDir} can't be read, the first: ${unreadable[0] || mediaDir}`,
            `As root type: setfacl -R -m u:${user}:rX -m d:u:${user}:rX ${quote(mediaDir)}`,
          )
        : files === 0
          ? warn('media', `${mediaDir} holds no file`, 'Is its disk mounted, and is it the folder that the app uses?')
          : pass('media', `${mediaDir}: ${plural(files, 'file')}, ${bytes(total)}`),
    ]
  })
}

/** The newest restore point, and what a restore to it would lose. It is no night: nothing is wrong if there is none. */
async function pointCheck(
  dokku: Dokku,
  service: Service,
  { restorePoints: [newest] }: ArchiveList,
  state: string,
): Promise<CheckLine[]> {
  if (!newest) return []
  const then = (await readState(state)).writes?.[newest.name]
  const now = then && (await readWrites(dokku, service).catch(onlyFailure))
  const written = now && !(now instanceof Failure) ? writtenBetween(then, now) : undefined
  const since = written && `; written since: ${written.join('; ') || 'nothing'}`
  return [pass('restore point', `${newest.name}, ${age(newest.start)}${since ?? ''}`)]
}

/** Another database is surely wrong; a folder that is not mounted may be right. */
function sourceCheck(name: 'service' | 'mount', { known, doubt, fix }: SourceAnswer): CheckLine {
  if (doubt !== undefined) return (name === 'service' ? fail : warn)(name, doubt, fix)
  return known === undefined
    ? warn(name, 'Dokku does not say whether this is what the app uses', fix)
    : pass(name, known)
}

function linkCheck({ leadingOut }: MediaSize): CheckLine[] {
  if (leadingOut.length === 0) return []
  const links = firstOf(leadingOut.map(({ path, target }) => `${path} → ${target}`))
  return [
    warn(
      'links',
      `what is behind a link out of the media folder is in no archive: ${links}`,
      'Move it back, or let it be mounted there in place of the link: mount --bind',
    ),
  ]
}

/** What is there now with what the archives hold. */
async function compare(
  backup: Parameters<typeof knownArchives>[0],
  archives: readonly Archive[],
  media: MediaSize | null,
  tables: Awaited<ReturnType<typeof surveyTables>> | Failure,
): Promise<CheckLine[]> {
  const name = 'as before'
  const compared = await knownArchives(backup, archives)
  if (compared.length === 0) return []
  const survey = tables instanceof Failure ? undefined : tables
  const lacks = lackingNow({ media, tables: survey, compared, accepted: lastAcceptance(archives) })
  if (lacks.length > 0)
    return [
      fail(
        name,
        `lacking: ${lacks.join('; ')}`,
        'Is its disk mounted? Then type what stands behind it (for rows alone: restore --rows TABLE). If what is there is right: backup --accept',
      ),
    ]
  if (tables instanceof Failure)
    return [warn(name, `which tables have rows is not known: ${tables.message}`, tables.hint)]
  return [pass(name, describeSound({ mediaFiles: media?.files }, compared))]
}
