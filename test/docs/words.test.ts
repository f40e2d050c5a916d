// One word a thing: the table in docs/developing.md says which words the messages, the help and the pages don't use.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { PAGES, proseOf, readPage } from '../support/docs.ts'
import { messagesOf, sourceFiles } from '../support/source-code.ts'

const test = suite('one word a thing')

/** What a forbidden word may be a part of all the same. */
const ALLOWED =
  /\brestore latest\b|\bor latest\b|`latest`|'latest'|; latest is the newest|APP:latest|:latest\b|releases\/latest|ubuntu-latest|--repo\b|['.]repo\b|\brepo[:,/]|repo\.borgbase|\.repo\.|\/repo\b|BORG_REPO|logrotate|\brotate 12\b|\[latest\]/g

/** The words of the table's right side, each with what to say in its place. */
function forbidden(): [word: string, instead: string][] {
  const [, rows = ''] = /^\| say \| not \|\n\|.*\n((?:\|.*\n?)+)/m.exec(readPage('docs/developing.md')) ?? []
  return rows
    .split('\n')
    .filter(Boolean)
    .flatMap((row) => {
      const [, say = '', not = ''] = row.split('|').map((cell) => cell.trim())
      return not
        .replace(/\(.*?\)/g, '')
        .split(',')
        .map((word): [string, string] => [word.trim(), say])
    })
}

test('no message, help or page uses another word', () => {
  const words = forbidden()
  assert.ok(words.length > 10)
  const texts = [
    ...sourceFiles('lib', 'scripts').map((path) => [path, messagesOf(path)] as const),
    ...PAGES.map((page) => [page, page === 'docs/developing.md' ? '' : proseOf(page)] as const),
  ]
  const found = texts.flatMap(([path, text]) =>
    words.flatMap(([word, instead]) =>
      [...text.replace(ALLOWED, '').matchAll(new RegExp(`.{0,30}\\b${word}s?\\b.{0,20}`, 'gi'))].map(
        ([where]) => `${path}: "${where.trim()}": say ${instead}`,
      ),
    ),
  )
  assert.equal(found, [])
})

test.run()
