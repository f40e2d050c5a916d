import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { lackingNow } from '../../lib/backup/tonight.ts'
import { lastAcceptance } from '../../lib/borg/comment.ts'
import { archivesThatCount, describeSound, findLosses, type KnownArchive, type Present } from '../../lib/borg/losses.ts'

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
    ['the media shrank to less than half (10 files, 1.00 kB), old has 21 files, 0 B (restore --media-only old)'],
  ],
  [
    'fewer bytes',
    NOW,
    [known('old', { mediaFiles: 10, mediaBytes: 2001 })],
    ['the media shrank to less than half (10 files, 1.00 kB), old has 10 files, 2.00 kB (restore --media-only old)'],
  ],
  [
    'an empty folder',
    { ...NOW, mediaFiles: 0, mediaBytes: 0 },
    [known('old', { mediaFiles: 1 })],
    ['the media folder is empty, old has 1 file, 0 B (restore --media-only old)'],
  ],
  [
    'the archive with the most photos is named, not the newest that has more than there are',
    NOW,
    [known('last', { mediaFiles: 10 }), known('whole', { mediaFiles: 30 }), known('older', { mediaFiles: 40 })],
    ['the media shrank to less than half (10 files, 1.00 kB), older has 40 files, 0 B (restore --media-only older)'],
  ],
  [
    'of archives with as many photos the newest is named',
    NOW,
    [known('less', { mediaFiles: 21 }), known('newer', { mediaFiles: 60 }), known('older', { mediaFiles: 60 })],
    ['the media shrank to less than half (10 files, 1.00 kB), newer has 60 files, 0 B (restore --media-only newer)'],
  ],
  [
    'where only bytes are lacking, the archive with the most bytes is named',
    NOW,
    [known('many', { mediaFiles: 19, mediaBytes: 2100 }), known('large', { mediaFiles: 12, mediaBytes: 9000 })],
    [
      'the media shrank to less than half (10 files, 1.00 kB), large has 12 files, 9.00 kB (restore --media-only large)',
    ],
  ],
  [
    'a smaller dump',
    NOW,
    [known('old', { dumpBytes: 2001 })],
    ['the dump shrank to less than half (1.00 kB), that of old has 2.00 kB (restore --db-only old)'],
  ],
  [
    'the archive with the largest dump is named, or a newer one whose dump is nearly as large',
    NOW,
    [
      known('half', { dumpBytes: 2500 }),
      known('other', { dumpBytes: 90_000, dumpMode: 'export' }),
      known('nearly', { dumpBytes: 5700 }),
      known('most', { dumpBytes: 6000 }),
    ],
    ['the dump shrank to less than half (1.00 kB), that of nearly has 5.70 kB (restore --db-only nearly)'],
  ],
  [
    'folders: first the archive that has most of them, and of those the one with the most photos',
    NOW,
    [
      known('last', { mediaFiles: 9, folders: ['avatars', 'covers'] }),
      known('whole', { mediaFiles: 15, folders: ['avatars', 'covers', 'photos'] }),
      known('old', { mediaFiles: 8, folders: ['maps'] }),
    ],
    [
      'of the media nothing is left in avatars, covers, whole has files there (restore --media-only whole)',
      'of the media nothing is left in maps, old has files there (restore --media-only old)',
    ],
  ],
  [
    'a folder that is empty or gone',
    NOW,
    [known('old', { mediaFiles: 10, folders: ['avatars', 'photos'] })],
    ['of the media nothing is left in avatars, old has files there (restore --media-only old)'],
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
    ['1 table of which old has rows is empty or gone: public.c (restore --db-only old)'],
  ],
  [
    'a table that does not answer',
    { ...NOW, tables: { filled: [], unread: ['public.a'] } },
    [known('old', { tables: ['public.a'] })],
    [],
  ],
  ['tables that are not known', { ...NOW, tables: undefined }, [known('old', { tables: ['public.c'] })], []],
  [
    'tables: first the archive that has most of them, then what it lacks, each once',
    NOW,
    [
      known('last', { tables: ['public.c', 'public.f'] }),
      known('old', { tables: ['public.c', 'public.d', 'public.e'] }),
    ],
    [
      '3 tables of which old has rows are empty or gone: public.c, public.d, public.e (restore --db-only old)',
      '1 table of which last has rows is empty or gone: public.f (restore --db-only last)',
    ],
  ],
  [
    'a table: not the archive that had lost most of its rows already',
    { ...NOW, dump: { mode: 'dedup', bytes: 5000 } },
    [
      known('last', { tables: ['public.c'], dumpBytes: 5500 }),
      known('whole', { tables: ['public.c'], dumpBytes: 9500 }),
      known('older', { tables: ['public.c'], dumpBytes: 9600 }),
    ],
    ['1 table of which whole has rows is empty or gone: public.c (restore --db-only whole)'],
  ],
  [
    'tables beyond those that a comment names',
    NOW,
    [known('old', { tables: ['public.a'], tableCount: 900 })],
    ['only 2 tables have rows, in old 900 have (restore --db-only old)'],
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

test('that nothing is lacking says what was compared, and how many photos fewer there are than in the fullest archive', () => {
  const archives = [known('last', { mediaFiles: 19 }), known('whole', { mediaFiles: 21 })]
  assert.is(
    describeSound(NOW, archives),
    'nothing is empty, gone or below half of what 2 archives held; 11 photos fewer than the fullest, whole; single rows are not compared',
  )
  assert.is(
    describeSound({ mediaFiles: undefined }, archives.slice(1)),
    'nothing of the database is empty, gone or below half of what 1 archive held; single rows are not compared',
  )
  assert.not.match(describeSound({ mediaFiles: 30 }, archives), /fewer/)
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
