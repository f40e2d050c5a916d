import { inspect } from 'node:util'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { oneLine, printable, printableLines } from '../../lib/core/format.ts'
import { createRedaction } from '../../lib/core/redaction.ts'
import { processorMs } from '../support/processor-time.ts'

const test = suite('redaction')

function redact(text: string, ...secrets: string[]): string {
  const redaction = createRedaction()
  redaction.addSecrets(secrets)
  return redaction.redact(text)
}

for (const [address, shown] of [
  ['postgres://app:hunter2@db:5432/books', 'postgres://app:***@db:5432/books'],
  ['(postgres://app:hunter2@db:5432)', '(postgres://app:***@db:5432)'],
  ['postgres://app:hun@ter2@db:5432', 'postgres://app:***@db:5432'],
  ['postgres://app:hun/ter2@db', 'postgres://app:***@db'],
  ['https://:token@host/', 'https://:***@host/'],
  ['https://a:b@c/?x=https://d:e@f', 'https://a:***@c/?x=https://d:***@f'],
  ['"x://a:b@c","y://d:e@f"', '"x://a:***@c","y://d:***@f"'],
  ['https://user@host and https://host:8080/path', 'https://user@host and https://host:8080/path'],
  ['https://hc-ping.com/uuid, tell me@example.org', 'https://hc-ping.com/uuid, tell me@example.org'],
  ['ssh://x1@x1.repo.borgbase.com/./repo', 'ssh://x1@x1.repo.borgbase.com/./repo'],
] as const)
  test(`the password of an address: ${shown}`, () => assert.is(redact(address), shown))

test('a secret is known however another program writes it', () => {
  const secret = `it's "a\\b" #1/é\u0000%`
  const forms = [
    secret,
    JSON.stringify({ secret }),
    JSON.stringify(`-- ${secret} --`),
    JSON.stringify({ body: JSON.stringify({ secret }) }),
    encodeURIComponent(secret),
    new URLSearchParams({ secret }).toString(),
    inspect("it's \\#1\n2"),
    `'${secret.replaceAll("'", "'\\''")}'`,
    JSON.stringify({ command: `borg '${secret.replaceAll("'", "'\\''")}'` }),
  ]
  for (const text of forms) {
    const shown = redact(`said: ${text}`, secret, "it's \\#1\n2")
    assert.match(shown, /\*\*\*/)
    assert.not.match(shown, /#1|%231|it.?.?'?s|it%27s/)
  }
})

test('a secret within another one leaves nothing of it', () => {
  assert.is(redact('key-12345-and-more', 'key-12345', 'key-12345-and-more'), '***')
})

test('a secret is known in a text that was made fit to be shown before', () => {
  const secret = 'two  blanks\tand a tab\u0007'
  for (const text of [oneLine(secret), printable(secret), printableLines(secret), secret])
    assert.is(redact(`said: ${text}.`, secret), 'said: ***.')
})

test('nothing is left of a secret, or of a password, of which a text was cut', () => {
  const secret = 'correct horse "7"'
  for (let most = 8; most < 50; most++)
    for (const text of [`said ${secret} ${'x'.repeat(50)}`, `said ${JSON.stringify(secret)} ${'x'.repeat(50)}`])
      assert.not.match(redact(oneLine(text, most), secret), /corr/)
  assert.is(redact('said corre, and correct', secret), 'said corre, and correct')
  assert.is(redact('said correct horse\nand correct', secret), 'said ***\nand correct')
  assert.is(redact('postgres://app:hunter2…'), 'postgres://app:***')
  assert.is(redact('at http://host:80…, http://host/a:b…'), 'at http://host:80…, http://host/a:b…')
})

const MB = 1_000_000
for (const [what, text] of [
  ['one long word', 'x'.repeat(MB)],
  ['addresses without an end', 'a://b:'.repeat(MB / 6)],
  ['addresses without a host', 'a://b:c '.repeat(MB / 8)],
  ['addresses with passwords', 'a://b:c@'.repeat(MB / 8)],
  ['addresses with a path', 'a://b:c/@'.repeat(MB / 9)],
  ['separators', '://'.repeat(MB / 3)],
  ['a long user', `a://${'b'.repeat(MB)}`],
  ['a long password', `a://b:${'c'.repeat(MB)}`],
  ['passwords in quotes', 'a://b:"@'.repeat(MB / 8)],
  ['colons', `a://b${':'.repeat(MB)}`],
  ['nearly the secret', 'correct-horse-'.repeat(MB / 14)],
  ['the beginning of the secret', 'correct-…'.repeat(MB / 9)],
  ['passwords that were cut', 'a://b:c…'.repeat(MB / 8)],
  ['cuts', '…'.repeat(MB)],
] as const)
  test(`a megabyte takes well under a second: ${what}`, () => {
    const startedMs = processorMs()
    redact(text, 'correct-horse-7', 'correct horse "8"')
    assert.ok(processorMs() - startedMs < 800, `${Math.round(processorMs() - startedMs)} ms`)
  })

test.run()
