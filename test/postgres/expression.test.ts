import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Failure } from '../../lib/core/failure.ts'
import { requireExpression } from '../../lib/postgres/expression.ts'

const test = suite('one SQL expression')

const GOOD = [
  'id = 42',
  "city = 'Lyon' AND (name LIKE 'a;b%' OR note = '--')",
  "a = E'it\\'s; \\\\'",
  '"odd ""name"";(" IS NULL',
  'body = $$; ) -- $$ OR body = $x$ $$ ; $x$',
  'foo$bar$ = 1',
  'tags[1] = ANY (ARRAY[1, 2])',
  "name = 'a\\'",
  'id IN (SELECT 1)',
  "n'x' = nothing",
  'größe > 3',
]

const BAD: [text: string, says: RegExp][] = [
  ['', /empty/],
  ['  \n', /empty/],
  ['true; DELETE FROM x', /semicolon/],
  ['true) OR (true', /a \) closes/],
  ['(true', /a \) is missing/],
  ['tags[1', /a ] is missing/],
  ['(tags]', /a ] closes/],
  ["a = 'open", /stays open: 'open/],
  ['"open', /stays open/],
  ['$x$ open $$', /stays open/],
  ["e'it\\' ; --", /stays open/],
  ["'a\\'; DROP", /semicolon/],
  ['1 -- 2', /comment/],
  ['1 /* 2', /comment/],
  ['\\! ls', /backslash/],
  ['a\0b', /NUL/],
]

for (const text of GOOD)
  test(`it is one: ${text}`, () => {
    requireExpression(text, '--where')
  })

for (const [text, says] of BAD)
  test(`it is none: ${JSON.stringify(text)}`, () => {
    try {
      requireExpression(text, '--where')
    } catch (error) {
      assert.instance(error, Failure)
      assert.is((error as Failure).exitCode, 2)
      assert.match((error as Failure).message, says)
      return
    }
    assert.unreachable()
  })

test('a long text takes no time', () => {
  const startedMs = process.cpuUsage().user / 1000
  requireExpression(`(${"a = '''' AND ".repeat(50_000)}true)`, '--where')
  assert.ok(process.cpuUsage().user / 1000 - startedMs < 2000)
})

test.run()
