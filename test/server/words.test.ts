import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DOKKU_WORDS, withApp } from '../../lib/server/words.ts'

const test = suite('what is said to the server')

test("Dokku's xargs and its echo get through unharmed what is said", () => {
  for (const words of DOKKU_WORDS)
    for (const word of withApp(words, 'book-corners').split(' ')) {
      assert.match(word, /^[A-Za-z0-9_:-]+$/)
      assert.not.match(word, /^-[neE]+$/)
    }
})

test('each of the words names the app, which is put in as it is', () => {
  for (const words of DOKKU_WORDS) assert.ok(words.split(' ').includes('APP'))
  assert.is(withApp('logs APP --tail', 'my.app'), 'logs my.app --tail')
})

test.run()
