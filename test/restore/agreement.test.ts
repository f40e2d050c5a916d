import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Context } from '../../lib/cli/main.ts'
import { EXIT, Failure } from '../../lib/core/failure.ts'
import { requireAgreement } from '../../lib/restore/agreement.ts'

const test = suite('who agrees to a restore')

const ARCHIVE = 'book-corners-2026-02-28T03:00:00'

/** Without a terminal. @returns what is refused; undefined when the restore may begin */
function refused(typed: readonly string[], flag = ''): Failure | undefined {
  const context = {
    flags: new Set(typed.flatMap((word) => (word.startsWith('--') ? [word.slice(2)] : []))),
    argument: typed.find((word) => word === ARCHIVE || word === 'latest'),
    interactive: false,
  }
  try {
    requireAgreement(context as unknown as Context, flag, typed)
  } catch (error) {
    if (error instanceof Failure) return error
    throw error
  }
}

for (const [typed, says, flag] of [
  [[], 'restore ARCHIVE --yes'],
  [[ARCHIVE], `restore ${ARCHIVE} --yes`],
  [['--db-only'], 'restore ARCHIVE --db-only --yes'],
  [['--media-only'], 'restore ARCHIVE --media-only --yes'],
  [['--rows', 'libraries_library'], 'restore ARCHIVE --rows libraries_library --yes', 'rows'],
  [['--rows', 'libraries_library', ARCHIVE], `restore --rows libraries_library ${ARCHIVE} --yes`, 'rows'],
  [['--undo'], 'restore --undo DATABASE --yes', 'undo'],
] as const)
  test(`without a terminal nothing begins, and a script may type ${says}`, () => {
    const { message = '', hint = '', exitCode } = refused(typed, flag) ?? {}
    assert.is(exitCode, EXIT.usage)
    assert.match(message, 'no terminal to ask at')
    assert.ok(hint.endsWith(`For a script: ${says}`), hint)
  })

for (const [typed, says, flag] of [
  [['--yes'], 'restore latest --yes'],
  [['--db-only', '--yes'], 'restore latest --db-only --yes'],
  [['--media-only', '--yes'], 'restore latest --media-only --yes'],
  [['--rows', 'libraries_library', '--yes'], 'restore latest --rows libraries_library --yes', 'rows'],
] as const)
  test(`--yes does not choose an archive: ${says}`, () => {
    const { message = '', hint = '', exitCode } = refused(typed, flag) ?? {}
    assert.is(exitCode, EXIT.usage)
    assert.match(message, '--yes does not choose an archive')
    assert.match(hint, `${says}\n`)
  })

for (const [typed, flag] of [
  [['latest', '--yes'], ''],
  [['--undo', '--yes'], 'undo'],
] as const)
  test(`with ${typed.join(' ')} somebody has agreed`, () => {
    assert.is(refused(typed, flag), undefined)
  })

test.run()
