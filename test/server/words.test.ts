import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { askRevision, DOKKU_WORDS, setRevision, withApp } from '../../lib/server/words.ts'

const test = suite('what is said to the server')
const ALL = [...DOKKU_WORDS, askRevision(2), setRevision('a'.repeat(40))]

test("Dokku's xargs and its echo get through unharmed what is said", () => {
  for (const words of ALL)
    for (const word of withApp(words, 'book-corners').split(' ')) {
      assert.match(word, /^[A-Za-z0-9_.:=-]+$/)
      assert.not.match(word, /^-[neE]+$/)
    }
})

test('each of the words names the app, which is put in as it is', () => {
  for (const words of ALL) assert.ok(words.split(' ').includes('APP'))
  assert.is(withApp('logs APP --tail', 'my.app'), 'logs my.app --tail')
})

test('a revision is a whole commit, and nothing else', () => {
  for (const odd of ['', 'HEAD', 'a'.repeat(39), `${'a'.repeat(40)} X=1`]) assert.throws(() => setRevision(odd))
})

test.run()
