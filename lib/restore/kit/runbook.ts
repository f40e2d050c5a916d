// RUNBOOK.md: every command for an empty server, in order, with an archive's own values in it. Secrets are named by their file.

import { printable } from '../../core/format.ts'
import { shortSha } from '../../core/sha.ts'
import { moment } from '../../core/times.ts'
import type { Kit } from './content.ts'
import { dataSteps } from './data-steps.ts'
import { hasPassphrase, unwritable } from './files.ts'
import { openingSteps } from './opening-steps.ts'
import { serverSteps } from './server-steps.ts'
import { KIT_THERE, type Step } from './step.ts'

/** What a new server needs and the archive does not hold, each with where it is asked for. */
export function missingOf(kit: Kit): string[] {
  const { manifest, hasManifest, config, dump, media, noMedia } = kit
  const { app, plugins = [], links = [], sha, image, database, domains, mounts = [], otherServices = {} } = manifest
  const unsourced = plugins.filter(({ source }) => !source).map(({ name }) => name)
  const elsewhere = mounts.filter(({ host }) => !media || !within(media.folder, host)).map(({ host }) => host)
  return [
    ...(config ? [] : ["the app's configuration, its secrets among them: step “The app and its database” asks for it"]),
    ...(hasManifest
      ? []
      : ['how the app stood (versions, domains, ports, processes): the steps ask for what is needed']),
    ...(dump ? [] : ['the database: there is no db.dump in this archive']),
    ...(media ? [] : [noMedia ? NO_PHOTOS : 'the photos: there is no media folder in this archive']),
    ...(database
      ? [`the address of the database with its password (it was at ${database}): step “The user deploy” asks for it`]
      : []),
    ...(image || database ? [] : ["the image of the database's service: step “The app and its database” asks for it"]),
    ...(sha ? [] : ['the deployed commit: step “The code” asks for it']),
    ...(domains && domains.length > 0 ? [] : ['the domains: step “Domains, ports, processes” asks for them']),
    ...unsourced.map((name) => `where the plugin ${name} is installed from: step “Dokku and its plugins” asks for it`),
    ...elsewhere.map((host) => `what was in ${printable(host)}, which the app had mounted: no archive holds it`),
    ...Object.entries(otherServices).map(
      ([key, name]) => `the service ${printable(name)} (${key}): make it by hand, no archive holds its data`,
    ),
    ...links
      .filter((other) => other !== app)
      .map((other) => `the app ${other}, which was linked to the same database: no archive of this app holds it`),
    ...unwritable(kit).map(
      (key) => `the setting ${key}: its value is in manifest.json, and can't stand in an env file`,
    ),
    ...(hasPassphrase(kit) ? [] : ["the repository's passphrase: step “The user deploy” asks for it"]),
  ]
}

const NO_PHOTOS = 'photos: MEDIA_DIR was none, so the archive holds the database alone'

function within(folder: string, path: string): boolean {
  return folder === path || folder.startsWith(`${path}/`) || path.startsWith(`${folder}/`)
}

/** @param folder of the kit, on this machine */
export function runbook(kit: Kit, folder: string): string {
  const { archive, manifest, flaws } = kit
  const steps = [...serverSteps(kit, folder), ...dataSteps(kit), ...openingSteps(kit)]
  const missing = missingOf(kit)
  return [
    `# ${manifest.app} on an empty server`,
    [
      `Out of ${archive.name}${archive.start ? ` of ${moment(archive.start)}` : ''}`,
      manifest.sha ? `, release ${shortSha(manifest.sha)}` : '',
      `. The old server: ${[manifest.system, manifest.architecture].filter(Boolean).join(', ') || 'not in the archive'}`,
      manifest.dokkuVersion ? `, Dokku ${manifest.dokkuVersion}` : '',
      '. Take the same architecture and system for the new one: an image of another architecture does not run.',
    ].join(''),
    [
      'Type the blocks from the first to the last, each in the place that stands above it, and look at what each command says',
      'before you type the next. `DOKKU_HOST` is the new server: on the laptop, type `export DOKKU_HOST=…` first. *As root* is',
      '`ssh "root@$DOKKU_HOST"`; *as deploy* is `su - deploy` there, once step “The user deploy” is done.',
    ].join('\n'),
    ...(flaws.length > 0 ? [`**The archive is ${printable(flaws.join('; '))}.**`] : []),
    '## Not in the archive',
    missing.length > 0 ? missing.map((one) => `- ${one}`).join('\n') : 'Nothing of what these steps need.',
    'Never in an archive: nginx settings (`dokku nginx:report`), docker options, networks, global settings of Dokku, other apps.',
    ...steps.flatMap((step, index) => renderStep(step, index + 1)),
    '## When it runs',
    [
      `This folder holds every secret of the app. Remove it here, and on the server: \`rm -r ${KIT_THERE}\`. Then give the`,
      'pipeline a key (docs/pipeline.md), and keep elsewhere what `/home/deploy/backup --check` names at its end.',
      '',
    ].join('\n'),
  ].join('\n\n')
}

function renderStep({ title, text, blocks }: Step, number: number): string[] {
  return [
    `## ${number}. ${title}`,
    ...(text ? [text] : []),
    ...blocks
      .filter(({ commands }) => commands.length > 0)
      .map(({ where, commands }) => [`**${where}:**`, '```sh', ...commands, '```'].join('\n')),
  ]
}
