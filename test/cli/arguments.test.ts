import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Command, parse } from '../../lib/cli/arguments.ts'
import { Failure } from '../../lib/core/failure.ts'

const test = suite('arguments')
const command: Command = {
  name: 'restore',
  help: '',
  switches: ['list', 'dry-run', 'db-only', 'media-only', 'no-verify', 'json'],
  options: ['url'],
  exclusive: [['db-only', 'media-only']],
  goesWith: { json: ['list', 'dry-run', 'url'], 'no-verify': ['db-only'] },
  withoutArgument: ['list'],
  argument: 'ARCHIVE',
}

test('flags, values and the argument, in any order', () => {
  const { flags, values, argument } = parse(command, [
    '--db-only',
    'archive-1',
    '--url',
    'http://x',
    '--env-file=/y',
    '--no-verify',
  ])
  assert.equal([...flags], ['db-only', 'no-verify'])
  assert.equal(values, { url: 'http://x', 'env-file': '/y' })
  assert.is(argument, 'archive-1')
})

test('a group of a hundred thousand flags of one letter is refused as any unknown flag', () => {
  assert.throws(() => parse(command, [`-${'a'.repeat(130_000)}`]), /^Unknown flags -a{98}…\.$/)
})

test('-h is --help', () => {
  for (const word of ['-h', '--help']) assert.equal([...parse(command, [word]).flags], ['help'])
})

const REFUSED: [argv: string[], says: RegExp][] = [
  [['--lits'], /Unknown flag --lits\. Did you mean --list\?/],
  [['--frobnicate'], /Unknown flag --frobnicate\.$/],
  [['-n'], /Unknown flag -n/],
  [['--list=yes'], /--list takes no value/],
  [['--no-list'], /Unknown flag --no-list/],
  [['--url'], /--url needs a value/],
  [['--url', '--json'], /--url needs a value/],
  [['--url='], /--url needs a value/],
  [['one', 'two'], /Unexpected argument: two/],
  [['--db-only', '--media-only'], /--db-only and --media-only can't be used together/],
  [['--json'], /^--json goes with --list, --dry-run or --url\.$/],
  [['--no-verify'], /^--no-verify goes with --db-only\.$/],
  [['--list', 'one'], /^--list takes no ARCHIVE\.$/],
]
for (const [argv, says] of REFUSED)
  test(`refused with exit status 2: ${argv.join(' ')}`, () => {
    try {
      parse(command, argv)
      assert.unreachable()
    } catch (error) {
      if (!(error instanceof Failure)) throw error
      assert.is(error.exitCode, 2)
      assert.match(error.message, says)
      assert.match(error.hint, /restore --help/)
    }
  })

test.run()
