import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { isSha, parseSha, shortSha } from '../../lib/core/sha.ts'

const test = suite("a commit's name")
const SHA = 'b'.repeat(40)

test('is read from what a program printed, in full or not at all', () => {
  assert.is(parseSha(`Welcome\n${SHA}\n`), SHA)
  for (const text of ['HEAD\n', `${SHA}0`, SHA.slice(0, 12), '']) assert.is(parseSha(text), undefined)
})

test('is a full one', () => {
  assert.is(isSha(SHA), true)
  for (const value of [SHA.slice(1), `${SHA}\n`, '--all', 5, null]) assert.is(isSha(value), false)
})

test('is shown with eight digits', () => assert.is(shortSha(SHA), 'bbbbbbbb'))

test.run()
