import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { codeOnly, functionsOf } from './source-code.ts'

const test = suite('source-code')

for (const [what, text, expected] of [
  ['a declaration', 'function a(b: string) {\n}\n', ['a 2 1']],
  ['one without parameters', 'export async function a(): Promise<void> {\n}', ['a 2 0']],
  ['one that returns an object', 'function a(\n  b: A,\n  c = 1,\n): { d: 1; e: { f: 2 } } {\n}', ['a 5 2']],
  [
    'parameters of many kinds',
    'function a({ b, c }: D, e: (f: 1, g: 2) => void, h: Map<i, j>, k = [1, 2]) {}',
    ['a 1 4'],
  ],
  ['an arrow', 'const a = async (b: B, c: C): Promise<D> => {\n  b()\n}', ['a 3 2']],
  ['a typed arrow', "const a: B['a'] = (c) => {\n}", ['a 2 1']],
  ['a member', 'const a = {\n  b: async () => {\n  },\n}', ['b 2 0']],
  ['a callback', "test('a { b', () => {\n\n})", ['callback 3 0']],
  ['one inside another', 'function a() {\n  const b = (c: C) => {\n  }\n}', ['a 4 0', 'b 2 1']],
  // biome-ignore lint/suspicious/noTemplateCurlyInString: it is code, not a text
  ['braces in texts', "function a() {\n  b('}')\n  c(`\n}\n${d ? `}` : '{'}`)\n  e(/[/}'`]/)\n  // }\n}", ['a 8 0']],
] as const)
  test(`functions: ${what}`, () =>
    assert.equal(
      functionsOf(text).map(({ name, lines, parameters }) => `${name} ${lines} ${parameters}`),
      [...expected],
    ))

test('code keeps its place when texts and comments are taken out', () => {
  assert.is(codeOnly("a('x') // y\nb"), 'a(   )     \nb')
})

test.run()
