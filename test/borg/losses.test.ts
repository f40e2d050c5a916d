import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { lackingNow } from '../../lib/backup/tonight.ts'
import {
  archivesThatCount,
  findLosses,
  type KnownArchive,
  lastAcceptance,
  type Present,
} from '../../lib/borg/losses.ts'

const test = suite('losses')

/** What there is, and what the archives held, newest first. */
const NOW: Present = {
  mediaFiles: 10,
  mediaBytes: 1000,
  folders: new Map([['photos', 9]]),
  tables: { filled: ['public.a', 'public.b'], unread: [] },
  dump: { mode: 'dedup', bytes: 1000 },
}
function known(name: string, facts: Partial<KnownArchive>): KnownArchive {
  return { name, dumpMode: 'dedup', ...facts }
}

for (const [what, now, archives, losses] of [
  ['nothing is known of any archive', NOW, [known('old', {})], []],
  ['half is still there', NOW, [known('old', { mediaFiles: 20, mediaBytes: 2000, dumpBytes: 2000 })], []],
  [
    'no photo was there before',
    { ...NOW, mediaFiles: 0, mediaBytes: 0 },
    [known('old', { mediaFiles: 0, mediaBytes: 0 })],
    [],
  ],
  [
    'fewer files',
    NOW,
    [known('old', { mediaFiles: 21 })],
    ['the media shrank to less than half (10 files, 1.00 kB), old has 21 files, 0 B'],
  ],
  [
    'fewer bytes',
    NOW,
    [known('old', { mediaFiles: 10, mediaBytes: 2001 })],
    ['the media shrank to less than half (10 files, 1.00 kB), old has 10 files, 2.00 kB'],
  ],
  [
    'an empty folder',
    { ...NOW, mediaFiles: 0, mediaBytes: 0 },
    [known('old', { mediaFiles: 1 })],
    ['the media folder is empty, old has 1 file, 0 B'],
  ],
  [
    'the newest that has it is named',
    NOW,
    [known('last', { mediaFiles: 10 }), known('whole', { mediaFiles: 30 }), known('older', { mediaFiles: 40 })],
    ['the media shrank to less than half (10 files, 1.00 kB), whole has 30 files, 0 B'],
  ],
  [
    'a smaller dump',
    NOW,
    [known('old', { dumpBytes: 2001 })],
    ['the dump shrank to less than half (1.00 kB), that of old has 2.00 kB'],
  ],
  [
    'a folder that is empty or gone',
    NOW,
    [known('old', { mediaFiles: 10, folders: ['avatars', 'photos'] })],
    ['of the media nothing is left in avatars, old has files there'],
  ],
  [
    'folders that are not known',
    { ...NOW, folders: undefined },
    [known('old', { mediaFiles: 10, folders: ['avatars'] })],
    [],
  ],
  ['a dump of another mode', NOW, [known('old', { dumpMode: 'export', dumpBytes: 2001 })], []],
  ['no dump yet', { ...NOW, dump: undefined }, [known('old', { dumpBytes: 2001 })], []],
  [
    'a table less',
    NOW,
    [known('old', { tables: ['public.a', 'public.c'] })],
    ['1 table of which old has rows is empty or gone: public.c'],
  ],
  [
    'a table that does not answer',
    { ...NOW, tables: { filled: [], unread: ['public.a'] } },
    [known('old', { tables: ['public.a'] })],
    [],
  ],
  ['tables that are not known', { ...NOW, tables: undefined }, [known('old', { tables: ['public.c'] })], []],
  [
    'tables of several archives, each once',
    NOW,
    [known('last', { tables: ['public.c'] }), known('old', { tables: ['public.c', 'public.d', 'public.e'] })],
    [
      '1 table of which last has rows is empty or gone: public.c',
      '2 tables of which old has rows are empty or gone: public.d, public.e',
    ],
  ],
  [
    'tables beyond those that a comment names',
    NOW,
    [known('old', { tables: ['public.a'], tableCount: 900 })],
    ['only 2 tables have rows, in old 900 have'],
  ],
] as [string, Present, KnownArchive[], string[]][])
  test(what, () => assert.equal(findLosses(now, archives), losses))

const HOUR_MS = 3_600_000
function archive(name: string, ageHours: number, comment: object = {}) {
  return { name, start: new Date(Date.now() - ageHours * HOUR_MS), comment: JSON.stringify(comment) }
}
function hoursAgo(hours: number): string {
  return new Date(Date.now() - hours * HOUR_MS).toISOString()
}

test('only archives since the last acceptance count, whichever archive knows of it; not one that a wrong clock dated', () => {
  const acceptance = { at: hoursAgo(50), unreadable: 2 }
  const archives = [
    archive('future', -100),
    archive('last', 2, { accepted: acceptance, mediaFiles: 7 }),
    archive('accepted', 49.9, { accepted: acceptance }),
    archive('before', 51, { accepted: { at: hoursAgo(900), unreadable: 0 } }),
  ]
  assert.equal(lastAcceptance(archives), acceptance)
  assert.equal(
    archivesThatCount(archives, { last: 5, before: 6 }).map(({ name, dumpBytes, mediaFiles }) => [
      name,
      dumpBytes,
      mediaFiles,
    ]),
    [
      ['last', 5, 7],
      ['accepted', undefined, undefined],
    ],
  )
  const wrong = [archive('last', 2, { accepted: { at: hoursAgo(-900), unreadable: 0 } }), archive('before', 30)]
  assert.equal(
    archivesThatCount(wrong, {}).map(({ name }) => name),
    ['last', 'before'],
  )
})

test('media files that cannot be read are lacking beyond as many as were accepted, also those that only Borg could not read', () => {
  const media = { files: 10, bytes: 1000, folders: new Map(), unreadable: ['a', 'b'], leadingOut: [] }
  const accepted = { at: hoursAgo(1), unreadable: 2 }
  const now = { media, tables: undefined, compared: [known('old', { mediaFiles: 10 })], accepted }
  assert.equal(lackingNow(now), [])
  assert.equal(lackingNow({ ...now, accepted: { ...accepted, unreadable: 1 } }), [
    'without 2 media files that could not be read: a, b',
  ])
  const compared = [known('last', { unreadable: 3, unreadablePaths: ['x'] })]
  assert.equal(lackingNow({ ...now, compared }), ['without 3 media files that could not be read: x and 2 more'])
  assert.equal(lackingNow({ ...now, media: null, compared }), [], 'MEDIA_DIR=none')
})

test('a table whose rows went twice, as was accepted, comes and goes; once is no pattern', () => {
  const [queue, libraries] = ['public.queue', 'public.libraries']
  const tables = (...tables: string[]) => ({ tables, tableCount: tables.length, lacks: [] })
  const once = [
    archive('e', 1, tables(libraries, queue)),
    archive('d', 25, tables(libraries)),
    archive('c', 49, { ...tables(libraries), lacks: ['the queue'] }),
    archive('b', 73, tables(libraries, queue)),
  ]
  const counted = (archives: typeof once) => archivesThatCount(archives, {})[0]?.tables
  assert.equal(counted(once), [libraries, queue])
  const twice = [...once, archive('a', 97, tables(libraries)), archive('0', 121, tables(libraries, queue))]
  assert.equal(counted(twice), [libraries])
})

test.run()
