import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { changedPackages, parsePackages } from '../../lib/git/packages.ts'
import { createRepository } from '../support/repository.ts'

const test = suite('the packages of a commit')

const uv =
  '[[package]]\nname = "django"\nversion = "6.0"\n\n[[package]]\nname = "django-allauth"\nversion = "65.0.0"\ndependencies = [\n  { name = "django" },\n]\n'

for (const [path, text, packages] of [
  [
    'requirements.txt',
    'Django==6.0\ndjango_allauth[socialaccount]==65.0.0 ; python_version > "3"\n# a==1\n-r base.txt\n--hash=x\n',
    'django 6.0, django-allauth 65.0.0',
  ],
  [
    'requirements.txt',
    'django==6.0 \\\n    --hash=sha256:abc\n    # via x\nwhitenoise>=6,<7\npillow\nmine @ git+https://x/y@abc\n',
    'django 6.0, whitenoise >=6,<7, pillow , mine @ git+https://x/y@abc',
  ],
  ['uv.lock', uv, 'django 6.0, django-allauth 65.0.0'],
  ['poetry.lock', uv, 'django 6.0, django-allauth 65.0.0'],
  ['pylock.toml', uv.replaceAll('[[package]]', '[[packages]]'), 'django 6.0, django-allauth 65.0.0'],
  ['Pipfile.lock', '{"default":{"django":{"version":"==6.0"}},"develop":{"x":{"version":"==1"}}}', 'django 6.0'],
  ['Pipfile.lock', 'no JSON', ''],
  [
    'pyproject.toml',
    '[project]\nname = "x"\ndependencies = [\n  "django>=6",\n  \'pillow\',\n]\n[tool.ruff]\nline-length = 100\n',
    'django >=6, pillow ',
  ],
  [
    'pyproject.toml',
    '[tool.poetry.dependencies]\npython = "^3.14"\ndjango = "^6.0"\n[tool.x]\ny = "1"\n',
    'python ^3.14, django ^6.0',
  ],
] as const)
  test(`${path}: ${packages}`, () =>
    assert.is([...parsePackages(path, text)].map((pair) => pair.join(' ')).join(', '), packages))

test('what differs between two commits is named, with its file', async () => {
  const { checkout, commit, remove } = await createRepository()
  try {
    const before = await commit('Before', {
      'requirements.txt': 'django==6.0\ndjango-allauth==0.57.0\nold==1\n',
      'requirements-docs.txt': 'zensical==1\n',
      'package-lock.json': '{"a":1}',
    })
    const after = await commit('After', {
      'requirements.txt': 'django==6.0\ndjango-allauth==65.0.0\nnew==1\n# said\n',
      'package-lock.json': '{"a":2}',
    })
    assert.equal(await changedPackages(checkout, before, after), [
      'django-allauth 0.57.0 → 65.0.0 (requirements.txt)',
      'new 1 (new) (requirements.txt)',
      'old 1 → removed (requirements.txt)',
    ])
    assert.equal(await changedPackages(checkout, before, before), [])
  } finally {
    await remove()
  }
})

test.run()
