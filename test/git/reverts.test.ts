import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { findReverts, notReverted, parseRevert, revertedSince } from '../../lib/git/reverts.ts'
import { createRepository } from '../support/repository.ts'

const test = suite('which commits take others back')

const SHA = '0123456789abcdef0123456789abcdef01234567'

for (const [subject, body, isRevert] of [
  ['Draw the map', '', false],
  ['Revert "Draw the map"', `This reverts commit ${SHA}.`, true],
  ['Revert "Draw the map" (#12)', 'Reverts andreagrandi/book-corners#11', true],
  ['Revert "Revert "Draw the map""', `This reverts commit ${SHA}.`, false],
  ['Revert "Revert "Revert "Draw the map"""', '', true],
  ['Reapply "Draw the map"', `This reverts commit ${SHA}.`, false],
  ['Revert "Reapply "Draw the map""', '', true],
  ['revert: feat(map): draw it', '', true],
  ['revert(map)!: draw it', '', true],
  ['revert: revert: draw it', '', false],
  ['Revert 01234567 (Draw the map, 2026-02-28)', '', true],
  ['Reverts the map', '', true],
  ['Back out the new map', '', true],
  ['The map as it was', `This reverts commit ${SHA}, reversing\nchanges made to ${SHA}.`, true],
  ['The map as it was', `Why.\n\nThis reverts commits 0123456 and 89abcde.`, true],
  ['The map as it was', 'Reverts #11', true],
  ['Merge pull request #12 from andreagrandi/revert-11-map', 'Revert "Draw the map"', true],
  ['Draw the map', 'It does not matter that this reverts nothing.', false],
  ['Make it easy to revert an edit', '', false],
  ['Reversed order of libraries', '', false],
] as const)
  test(`"${subject}" ${body ? `(${body.split('\n')[0]}) ` : ''}${isRevert ? 'does' : 'does not'}`, () =>
    assert.is(parseRevert({ subject, body }).isRevert, isRevert))

test('in a real history: what a merge brought, words of their own, and what is taken back among the same commits', async () => {
  const { checkout, commit, git, remove } = await createRepository()
  const revert = (sha: string, ...args: string[]): string => {
    git('revert', '--no-edit', ...args, sha)
    return git('rev-parse', 'HEAD')
  }
  const found = async (...shas: string[]): Promise<string[]> => {
    const commits = shas.map((sha) => ({
      sha,
      mainline: git('rev-list', '--parents', '-n1', sha).split(' ').length > 2 ? 1 : undefined,
    }))
    return (await findReverts(checkout, commits)).map(({ subject }) => subject)
  }
  try {
    await commit('First', { 'map.css': 'red' })
    const bug = await commit('Draw the map', { 'map.css': 'blue', 'map.js': '1' })
    git('checkout', '-q', '-b', 'revert-1-map')
    revert(bug)
    git('checkout', '-q', 'master')
    git('merge', '-q', '--no-ff', '-m', 'Merge pull request #2 from x/mend', 'revert-1-map')
    const merge = git('rev-parse', 'HEAD')
    assert.ok((await found(merge)).includes('Revert "Draw the map"'))
    const feature = await commit('Another feature', { 'feature.js': '1' })
    assert.equal(await found(feature), [])
    assert.ok((await found(feature, merge)).length > 0)
    const gone = revert(feature)
    // Both are among what is reverted: nothing comes back.
    assert.equal(await found(gone, feature), [])
    const again = revert(gone)
    assert.equal(await found(again), [])
    git('rm', '-q', 'feature.js')
    const silent = await commit('Tidy up')
    assert.equal(await found(silent), ['Tidy up'])
    git('commit', '-q', '--allow-empty', '-m', 'Nothing')
    assert.equal(await found(git('rev-parse', 'HEAD')), [])
  } finally {
    await remove()
  }
})

test('a release holds what was reverted since: by name or subject, whatever the release brought, until it is applied again', async () => {
  const { checkout, commit, git, remove } = await createRepository()
  const revert = (sha: string): string => {
    git('revert', '--no-edit', sha)
    return git('rev-parse', 'HEAD')
  }
  const isReverted = async (sha: string, running = 'HEAD'): Promise<boolean> =>
    (await revertedSince(checkout, sha, running)) !== undefined
  try {
    const good = await commit('First', { 'map.css': 'red' })
    const bug = await commit('Draw the map', { 'map.js': '1' })
    const other = await commit('Another feature', { 'feature.js': '1' })
    assert.not.ok(await isReverted(bug))
    const gone = revert(bug)
    const seen = await revertedSince(checkout, bug, gone)
    assert.equal([seen?.sha, seen?.at.getTime()], [gone, Date.parse(git('log', '-1', '--format=%cI', gone))])
    // The bug is in the later release, too; the earlier one is free of it, and what runs as well.
    assert.equal([await isReverted(other), await isReverted(good), await isReverted(gone)], [true, false, false])
    // By the release before the revert nothing is known of it.
    assert.not.ok(await isReverted(bug, other))
    const again = revert(gone)
    assert.equal([await isReverted(bug), await isReverted(gone)], [false, false])
    revert(again)
    assert.ok(await isReverted(bug))

    const squashed = await commit('Search by city (#11)', { 'search.js': '1' })
    await commit('Revert "Search by city (#11)" (#12)', { 'search.js': '' })
    assert.ok(await isReverted(squashed))
  } finally {
    await remove()
  }
})

test('of the commits that ran, those that no later one takes back', async () => {
  const { checkout, commit, git, remove } = await createRepository()
  const left = async (): Promise<string> =>
    (await notReverted(checkout, ran, tip, 'HEAD')).map(({ subject }) => subject).join(', ')
  const ran: { sha: string; subject: string }[] = []
  let tip = ''
  try {
    await commit('First', { 'map.css': 'red' })
    git('checkout', '-q', '-b', 'topic')
    const topic = await commit('Topic', { 'topic.js': '1' })
    git('checkout', '-q', 'master')
    git('merge', '-q', '--no-ff', '-m', 'Merge topic', 'topic')
    const merge = git('rev-parse', 'HEAD')
    tip = await commit('Draw the map', { 'map.js': '1' })
    for (const sha of [tip, merge, topic]) ran.push({ sha, subject: git('log', '-1', '--format=%s', sha) })
    assert.is(await left(), 'Draw the map, Merge topic, Topic')
    git('revert', '--no-edit', tip)
    assert.is(await left(), 'Merge topic, Topic')
    git('revert', '--no-edit', '-m', '1', merge)
    assert.is(await left(), '')
    git('revert', '--no-edit', 'HEAD')
    assert.is(await left(), 'Merge topic, Topic')
    await commit('Revert "Topic" (#12)', { 'topic.js': '' })
    assert.is(await left(), 'Merge topic')
  } finally {
    await remove()
  }
})

test.run()
