import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { SIGHTS } from '../../lib/rollback/sights.ts'
import { readPage } from '../support/docs.ts'

const test = suite('which way back when')

test('each sight is there once, and the page has the same rows', () => {
  assert.is(new Set(SIGHTS.map(([seen]) => seen)).size, SIGHTS.length)
  const [, rows = ''] = /^\| what you see \|.*\n\|.*\n((?:\|.*\n)+)/m.exec(readPage('docs/rollback.md')) ?? []
  const onPage = rows
    .trim()
    .split('\n')
    .map((row) => row.split('|').map((cell) => cell.replace(/[`~/]|\[|\]\([^)]*\)/g, '').trim()))
  assert.equal(
    onPage.map(([, seen]) => seen),
    SIGHTS.map(([seen]) => seen),
  )
  for (const [i, [, type]] of SIGHTS.entries())
    assert.ok(onPage[i]?.[2]?.startsWith(type), `${onPage[i]?.[2]}: ${type}`)
})

test.run()
