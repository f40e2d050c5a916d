// Results for GitHub Actions: annotations, the step's output, the job's summary.
import { appendFile } from 'node:fs/promises'
import type { Context } from '../cli/main.ts'
import { Failure, reason } from '../core/failure.ts'
import { duration } from '../core/format.ts'
import type { Env } from '../core/shell.ts'
import { isGreen } from './checks.ts'
import type { CheckResult } from './run-check.ts'

// https://docs.github.com/actions/reference/workflow-commands-for-github-actions; the escapes are those of @actions/core.
function escapeData(text: string): string {
  return text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A')
}

function escapeProperty(text: string): string {
  return escapeData(text).replaceAll(':', '%3A').replaceAll(',', '%2C')
}

/** One annotation: a workflow command, to be printed at the start of a line. */
export function annotation(level: 'error' | 'warning', title: string, message: string): string {
  return `::${level} title=${escapeProperty(title)}::${escapeData(message)}`
}

/** The failures and warnings as annotations. */
export function annotations(results: readonly CheckResult[]): string[] {
  return [
    ...results.flatMap(({ name, verdict, seen }) =>
      verdict === 'fail' || verdict === 'warn'
        ? [annotation(verdict === 'fail' ? 'error' : 'warning', `verify: ${name}`, `${name}: ${seen}`)]
        : [],
    ),
    ...(isGreen(results) || results.some(({ verdict }) => verdict === 'fail')
      ? []
      : [annotation('error', 'verify', 'no check ran')]),
  ]
}

/** Text for a cell of a Markdown table: neither the table's marks nor anything that would be formatting, HTML or a mention. */
function cell(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replace(/[\\`*_{}[\]()#+!|~]/g, '\\$&')
    .replaceAll('@', '&#64;')
    .replace(/[\r\n]+/g, ' ')
}

const ICON = { pass: '✅', warn: '⚠️', fail: '❌', skip: '➖' } as const

/** The results as Markdown. */
export function summaryMarkdown(url: string, results: readonly CheckResult[]): string {
  return [
    `### ${cell(url)} is ${isGreen(results) ? 'verified' : 'NOT verified'}`,
    '',
    '| | check | seen | time | tries |',
    '|---|---|---|--:|--:|',
    ...results.map(
      ({ name, verdict, seen, tookMs, tries }) =>
        `| ${ICON[verdict]} ${verdict} | ${cell(name)} | ${cell(seen)} | ${tries ? duration(tookMs) : ''} | ${tries || ''} |`,
    ),
    '',
    '',
  ].join('\n')
}

function onActions(environment: Env): boolean {
  return environment.GITHUB_ACTIONS === 'true'
}

async function append(environment: Env, key: string, text: string): Promise<void> {
  const path = environment[key]
  if (!path) return
  try {
    await appendFile(path, text)
  } catch (error) {
    throw new Failure(`${key} can't be written: ${reason(error)}`)
  }
}

/**
 * On GitHub Actions: annotations, `verified=true|false` as the step's output, the table in the job's summary. Elsewhere nothing.
 * @throws Failure when the output can't be written: a later step would act on an answer that is not there
 */
export async function tellActions(
  { environment, print, log }: Pick<Context, 'environment' | 'print' | 'log'>,
  url: string,
  results: readonly CheckResult[],
): Promise<void> {
  if (!onActions(environment)) return
  for (const line of annotations(results)) print(line)
  // A table that nobody gets makes no site red.
  await append(environment, 'GITHUB_STEP_SUMMARY', summaryMarkdown(url, results)).catch((error) =>
    log.warn(reason(error)),
  )
  await append(environment, 'GITHUB_OUTPUT', `verified=${isGreen(results)}\n`)
}
