// What a restore says to the operator.

import { dirname } from 'node:path'
import { describeLabel, flawsOf } from '../borg/archives.ts'
import { parseComment } from '../borg/comment.ts'
import type { Settings } from '../cli/settings.ts'
import { bytes, plural, printable } from '../core/format.ts'
import { wrap } from '../core/layout.ts'
import { quote } from '../core/quote.ts'
import { shortSha } from '../core/sha.ts'
import { agoInWords, moment, momentAgo } from '../core/times.ts'
import { psqlLine, sqlLine } from '../dokku/by-hand.ts'
import type { Service } from '../dokku/dokku.ts'
import { type MediaFile, type MediaPlan, totalBytes } from '../media/compare.ts'
import { identifier } from '../postgres/sql.ts'
import { dropLine, type KeptDatabase } from '../postgres/swap.ts'
import { commandOf, type WayBack } from '../postgres/way-backs.ts'
import { isDeployed } from './app.ts'
import type { ChosenArchive, Restore } from './restore.ts'

/** What to know when the archive was taken at another release than the deployed one; undefined when it was not. */
export async function releaseAdvice(
  restore: Restore,
  { name, comment = '' }: ChosenArchive,
): Promise<string | undefined> {
  const { sha, before } = parseComment(comment)
  const { dokku, settings } = restore
  const deployed = await dokku.gitSha(settings.DOKKU_APP)
  if (sha && deployed && sha === deployed) return
  const migrate = `sudo dokku enter ${settings.DOKKU_APP} web python manage.py migrate`
  // To migrate would do again what somebody wants to be rid of.
  if (before !== undefined && sha)
    return `${name} was taken at release ${shortSha(sha)}, ${describeLabel(before)}, and has its schema. To go back to that release after the restore, on the laptop: rollback --to ${shortSha(sha)} --allow-migrations. To stay at the deployed one: ${migrate}`
  const was = sha ? `was taken at release ${shortSha(sha)}` : 'does not say at which release it was taken'
  if (!deployed && !(await isDeployed(restore)))
    return `${name} ${was}; ${settings.DOKKU_APP} is not deployed yet. So that code and schema agree, deploy that release next, on the laptop: deploy ${sha ? shortSha(sha) : 'SHA'}`
  const now = deployed ? `${shortSha(deployed)} is deployed` : 'Dokku does not say which one is deployed'
  return `${name} ${was}; ${now}. If the schema differs, type after the restore: ${migrate}`
}

/** The lines on the media, for a preview. */
export function describeMedia(plan: MediaPlan): string[] {
  const part = (what: string, files: readonly MediaFile[], then = ''): string =>
    `  ${what.padEnd(13)} ${plural(files.length, 'file')}, ${bytes(totalBytes(files))}${files.length > 0 ? then : ''}${first(files.map(({ path }) => path))}`
  return [
    part('missing', plan.missing),
    part(
      'different',
      plan.different,
      plan.overwrite
        ? ' in the archive; the present ones are put aside'
        : ' in the archive; those on the disk are kept as they are (without --overwrite)',
    ),
    `  ${'same'.padEnd(13)} ${plural(plan.same.count, 'file')}`,
    `  ${'only on disk'.padEnd(13)} ${plural(plan.onDisk.count, 'file')}, ${bytes(plan.onDisk.bytes)}, kept${first(plan.onDisk.first, plan.onDisk.count)}`,
    ...(plan.folders.length > 0
      ? [
          `  ${'folders'.padEnd(13)} ${plural(plan.folders.length, 'missing one')} with nothing in it${first(plan.folders)}`,
        ]
      : []),
    ...(plan.refused.length > 0
      ? [`  ${'refused'.padEnd(13)} ${plural(plan.refused.length, 'path')}${first(plan.refused)}`]
      : []),
  ]
}

/** Names from an archive, one a line; of many the first. */
export function lines(names: readonly string[]): string {
  return [...names.slice(0, 10).map((name) => `  ${printable(name)}`), ...(names.length > 10 ? ['  …'] : [])].join('\n')
}

function first(names: readonly string[], count = names.length): string {
  return count === 0
    ? ''
    : `: ${names
        .slice(0, 3)
        .map((name) => JSON.stringify(name))
        .join(', ')}${count > 3 ? ', …' : ''}`
}

/**
 * The closing lines on databases that swaps kept.
 * @param before what put each aside, by its name
 */
export function describeKept(
  service: Service,
  kept: readonly KeptDatabase[],
  before: (name: string) => string,
): string {
  return kept
    .map((database) => {
      const { name, bytes: size, slots, subscriptions } = database
      const hangs = [
        ...(slots.length > 0 ? [`keeps WAL for the replication slot ${slots.join(', ')}`] : []),
        ...(subscriptions.length > 0 ? [`has the subscription ${subscriptions.join(', ')}`] : []),
      ]
      return `  ${[name, bytes(size), before(name), ...hangs].join(', ')}. To drop it:\n    ${dropLine(service, database)}`
    })
    .join('\n')
}

const MOST_SHOWN = 5

/** Of rows that were brought back, newest first: when, from what, how many, and the command that takes them out. */
export function describeWayBacks(production: Service, files: readonly WayBack[]): string {
  const [{ path: newest } = { path: '' }] = files
  return [
    ...files
      .slice(0, MOST_SHOWN)
      .map(
        ({ path, at, archive, inserted, state }) =>
          `  ${momentAgo(at)}, from ${archive}: ${inserted.join(', ')}. ${state === 'gone' ? `None of them is in production any more:\n    rm ${quote(path)}` : `To take them out again:\n    ${commandOf(production, path)}`}`,
      ),
    ...(files.length > MOST_SHOWN
      ? [`  and ${plural(files.length - MOST_SHOWN, 'older one')} in ${dirname(newest)}`]
      : []),
  ].join('\n')
}

/** A subscription comes out of a dump switched off, and the one of the database before still is at work. */
export function subscriptionAdvice(service: Service, subscriptions: readonly string[]): string | undefined {
  if (subscriptions.length === 0) return undefined
  const enable = subscriptions.map((it) => `ALTER SUBSCRIPTION ${identifier(it)} ENABLE;`).join(' ')
  return `Off in ${service.database}, as a dump has them, subscription ${subscriptions.join(', ')}: drop the kept database's first, then ${sqlLine(service, enable)}`
}

/** Owners and grants that production has and a restored database has not. */
export function describeRights(service: Service, statements: readonly string[], columns?: number): string {
  const why = `A dump holds no owners and no grants: what is restored will belong to ${service.away?.user ?? 'postgres'}, and nobody else may use it. To give all of it again, after the restore:`
  return [wrap(why, columns), `${psqlLine(service)} <<'END'`, ...statements, 'END'].join('\n')
}

/** What becomes of the photos of an archive where no folder takes them; nothing where one does. */
export function withoutPhotos(
  { MEDIA_DIR }: Settings<'MEDIA_DIR'>,
  { comment = '' }: Pick<ChosenArchive, 'comment'>,
): string[] {
  const { mediaFiles, mediaBytes = 0, noMedia } = parseComment(comment)
  if (MEDIA_DIR !== null) return []
  if (noMedia || mediaFiles === 0) return ['No photos: MEDIA_DIR=none, and the archive holds none.']
  const held =
    mediaFiles === undefined ? 'it may hold photos' : `it holds ${plural(mediaFiles, 'photo')}, ${bytes(mediaBytes)}`
  return [`Without photos (MEDIA_DIR=none): ${held}. They stay in it.`]
}

/** What somebody must know who types this for the first time. */
export function beforehand({ settings }: Restore): string {
  return `Nothing changes before you type ${settings.DOKKU_APP}. Ctrl-C at any time. Now it is ${moment(new Date())}.`
}

/** What the operator agrees to. */
export function question({ settings, database, media }: Restore, archive: ChosenArchive, files: number): string {
  const { name, start, comment = '', damaged = [] } = archive
  return [
    ...(start ? flawsOf({ start, comment, damaged }).map((flaw) => `The archive is ${flaw}.`) : []),
    `This restores, from ${name},`,
    ...(database
      ? [
          `  the database of ${settings.DB_SERVICE}.`,
          `  Everything written to it since ${start ? `${moment(start)} (${agoInWords(start)})` : 'the archive'} leaves production.`,
          '  It stays in the kept database, and the way back is: restore --undo',
        ]
      : []),
    ...(media === null ? [] : [`  ${plural(files, 'media file')} in ${media}; nothing is deleted`]),
    ...withoutPhotos(settings, archive).map((line) => `  ${line}`),
  ].join('\n')
}
