// How an app stands, as Dokku reports it: what is asked, and how the answers are read. What a version of Dokku does not say is undefined.

import { aBoolean, aText, atBest, listOf, mapOf, optional, record, tryJson } from '../core/outside.ts'
import type { Manifest, Mount, Plugin } from './manifest.ts'

/** The app's configuration, as one JSON object (Dokku 0.22 and later). */
export function configArgs(app: string): string[] {
  return ['config:export', '--format', 'json', app]
}

/** What is asked for a manifest, each answered by one command. */
export function questions(app: string, service: string) {
  return {
    // Before 0.38.22 the format is ignored, and a table comes.
    plugins: ['plugin:list', '--format', 'json'],
    service: ['postgres:info', service],
    domains: ['domains:report', app],
    ports: ['ports:report', app],
    mounts: ['storage:list', app],
    scale: ['ps:scale', app],
    checks: ['checks:report', app],
    git: ['git:report', app],
    letsencrypt: ['letsencrypt:report', app],
    cron: ['cron:list', '--format', 'json', app],
  } as const satisfies Record<string, readonly string[]>
}

/** What Dokku printed, by question; a question that was not answered is missing. */
export type Answers = Partial<Record<keyof ReturnType<typeof questions>, string>>

/** Of a manifest, what is not Dokku's to say. */
type Other = 'format' | 'madeAt' | 'app' | 'service' | 'sha' | 'otherServices' | 'architecture' | 'system' | 'settings'

type Loose<T> = { [K in keyof T]: T[K] | undefined }

/** Pure. */
export function readAnswers(answers: Answers): Loose<Omit<Manifest, Other>> {
  const service = readReport(answers.service)
  const checks = readReport(answers.checks)
  const letsencrypt = readReport(answers.letsencrypt)
  const plugins = readPlugins(answers.plugins)
  return {
    dokkuVersion: plugins?.find(({ name }) => name === '00_dokku-standard')?.version,
    plugins: plugins?.filter(({ core }) => !core).map(({ core: _, ...plugin }) => plugin),
    image: service.get('version'),
    serviceOptions: service.get('config options'),
    // Some versions of the plugin print `-` for none.
    links: words(service.get('links'))?.filter((app) => app !== '-'),
    domains: words(readReport(answers.domains).get('domains app vhosts')),
    ports: words(readReport(answers.ports).get('ports map')),
    mounts: answers.mounts === undefined ? undefined : readMounts(answers.mounts),
    scale: answers.scale === undefined ? undefined : readScale(answers.scale),
    checks:
      checks.size === 0
        ? undefined
        : {
            disabled: listed(checks.get('checks disabled list')),
            skipped: listed(checks.get('checks skipped list')),
            ...only('waitToRetire', checks.get('checks wait to retire')),
          },
    deployBranch: readReport(answers.git).get('git deploy branch'),
    cron: tryJson(answers.cron ?? '', listOf(record({ schedule: aText, command: aText }))),
    letsencryptEmail: letsencrypt.get('letsencrypt computed email') ?? letsencrypt.get('letsencrypt email'),
  }
}

/** `       Domains app vhosts:   a.org b.org`, a line each; what is empty is left out. Keys in small letters. */
function readReport(stdout = ''): Map<string, string> {
  return new Map(
    stdout.split('\n').flatMap((line): [string, string][] => {
      const [, key, value = ''] = /^ {2,}([A-Z][^:]*):\s+(\S.*?)\s*$/.exec(line) ?? []
      return key === undefined ? [] : [[key.toLowerCase(), value]]
    }),
  )
}

function only<K extends string>(key: K, value: string | undefined): { [P in K]?: string } {
  return value === undefined ? {} : ({ [key]: value } as { [P in K]?: string })
}

function words(value: string | undefined): string[] | undefined {
  return value?.split(/\s+/).filter(Boolean)
}

/** A list of processes: `none`, `_all_`, or `web,worker`. */
function listed(value: string | undefined): string[] {
  return value === undefined || value === 'none' ? [] : value.split(',')
}

/** `/folder/here:/folder/there`, a line each; with volume options as a third part. */
function readMounts(stdout: string): Mount[] {
  return stdout.split('\n').flatMap((line) => {
    const [host = '', container = '', options] = line.trim().split(':')
    return container.startsWith('/') ? [{ host, container, ...(options ? { options } : {}) }] : []
  })
}

/** `web: 1`, a line each; without --quiet a title comes first. */
function readScale(stdout: string): Record<string, number> {
  return Object.fromEntries(
    [...stdout.matchAll(/^[ \t]*([\w-]+):[ \t]+(\d+)[ \t]*$/gm)].map(([, process = '', count]) => [
      process,
      Number(count),
    ]),
  )
}

const LISTED = listOf(
  record({
    name: aText,
    version: aText,
    core: aBoolean,
    source_url: optional(atBest(aText)),
    committish: optional(atBest(aText)),
  }),
)

function readPlugins(stdout: string | undefined): (Plugin & { core: boolean })[] | undefined {
  if (stdout === undefined) return undefined
  return (
    tryJson(stdout, LISTED)?.map(({ name, version, core, source_url: source, committish: commit }) => ({
      name,
      version,
      core,
      ...(source ? { source } : {}),
      ...(commit ? { commit } : {}),
    })) ??
    // `  postgres   1.48.0 enabled    dokku postgres service plugin`
    [...stdout.matchAll(/^[ \t]+(\S+)[ \t]+(\S+)[ \t]+(?:enabled|disabled)[ \t]+(.*)$/gm)].map(
      ([, name = '', version = '', description = '']) => ({ name, version, core: /^dokku core\b/.test(description) }),
    )
  )
}

/** Set by Dokku itself, by a deploy or by `ports:set`: a new server makes its own. */
const DOKKUS_OWN =
  /^(GIT_REV|NO_VHOST|DOKKU_(APP_TYPE|APP_RESTORE|DOCKERFILE_PORTS|DOCKERFILE_START_CMD|PROXY_PORT|PROXY_SSL_PORT|PROXY_PORT_MAP))$/
/** Where the link of a service leads: to its container. */
const LINKED = /^[a-z][a-z0-9+.-]*:\/\/(?:[^\s/]*@)?dokku-([a-z]+)-([^\s/:?#]+)/

/** An app's configuration, without what Dokku and the links of services set. */
export interface AppVariables {
  values: Record<string, string>
  /** Names of services that are linked, as `redis cache`, by the variable that leads there. */
  linked: Record<string, string>
}

/** Reads what `config:export --format json` prints. @returns undefined when that is no JSON object of texts */
export function readVariables(stdout: string): AppVariables | undefined {
  const all = tryJson(stdout, mapOf(aText))
  if (!all) return undefined
  const found: AppVariables = { values: {}, linked: {} }
  for (const [key, value] of Object.entries(all)) {
    const [, type, service] = /_URL$/.test(key) ? (LINKED.exec(value) ?? []) : []
    if (type) found.linked[key] = `${type} ${service}`
    else if (!DOKKUS_OWN.test(key)) found.values[key] = value
  }
  return found
}
