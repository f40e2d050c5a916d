import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { EXIT, Failure } from '../../../lib/core/failure.ts'
import { readWish } from '../../../lib/restore/rows/wanted.ts'

const test = suite('what is typed after --rows and --where')

for (const [rows, where, says] of [
  ['libraries_library', 'true; DROP TABLE newer', /--where/],
  ['libraries_library,libraries_photo', 'true', /one table/],
  ['django_migrations', undefined, /which migrations ran/],
] as const)
  test(`${rows}${where === undefined ? '' : `, and ${where},`} is refused`, () => {
    try {
      readWish({ rows, ...(where === undefined ? {} : { where }) })
    } catch (error) {
      assert.instance(error, Failure)
      assert.is((error as Failure).exitCode, EXIT.usage)
      assert.match((error as Failure).message, says)
      return
    }
    assert.unreachable('it was taken')
  })

test.run()
