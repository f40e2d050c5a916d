// GitHub's workflows of this repository, and their steps run as its runner runs them.
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { YAML } from 'zx'

export interface Step {
  name?: string
  uses?: string
  run?: string
  env?: Record<string, string>
  if?: string
  with?: Record<string, string>
  'working-directory'?: string
}

interface WorkflowJob {
  steps: Step[]
  needs?: string
  env?: Record<string, string>
  environment?: unknown
  permissions?: Record<string, string>
  services?: Record<string, { image: string }>
  strategy?: { matrix: Record<string, unknown> }
  'timeout-minutes'?: number
}

/** What a caller gives. */
interface Given {
  required?: boolean
  default?: string
}

interface Workflow {
  on: { workflow_call?: { inputs?: Record<string, Given>; secrets?: Record<string, Given> } | null }
  permissions?: Record<string, string>
  concurrency?: { 'cancel-in-progress': boolean }
  jobs: Record<string, WorkflowJob>
}

const FOLDER = fileURLToPath(new URL('../../.github/workflows/', import.meta.url))

export const WORKFLOW_FILES: readonly string[] = readdirSync(FOLDER).sort()

export function workflowText(file: string): string {
  return readFileSync(`${FOLDER}${file}`, 'utf8')
}

export function workflow(file: string): Workflow {
  return YAML.parse(workflowText(file))
}

/** The inputs of a workflow as they are when its caller gives none. */
export function defaultInputs(file: string): Record<string, string> {
  const inputs = Object.entries(workflow(file).on.workflow_call?.inputs ?? {})
  return Object.fromEntries(
    inputs.flatMap(([name, { default: value }]) => (value === undefined ? [] : [[name, value]])),
  )
}

/** The value of an expression's name, such as `inputs.python`; text where a step has one. */
export type Values = Record<string, Record<string, string>>

/** Replaces `${{ inputs.python }}` and the like. */
export function fillIn(text: string, values: Values): string {
  return text.replace(/\$\{\{ (\w+)\.([\w-]+) \}\}/g, (_, kind: string, name: string) => values[kind]?.[name] ?? '')
}

/** The environment that a step's command gets from its job and from itself. */
export function stepEnv(job: Pick<WorkflowJob, 'env'>, step: Step, values: Values): Record<string, string> {
  return Object.fromEntries(
    Object.entries({ ...job.env, ...step.env }).map(([key, value]) => [key, fillIn(String(value), values)]),
  )
}

/** How the runner runs a step's command. */
export const SHELL = ['bash', '--noprofile', '--norc', '-eo', 'pipefail', '-c'] as const
