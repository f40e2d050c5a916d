// Does to a media folder what an app that was taken over can do, as fast as it can, until it is killed.
// node --input-type=module - KIND MEDIA_DIR OUTSIDE, with this file on stdin: its user may not look into this folder.
import { lstatSync, mkdirSync, readdirSync, renameSync, symlinkSync, unlinkSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'

const [kind, media, outside] = process.argv.slice(2)
let count = 0

/** The other side is at work as well: what this wants to change may just have gone. */
function attempt(change) {
  try {
    return change()
  } catch {
    return undefined
  }
}

function isFolder(path) {
  return attempt(() => lstatSync(path).isDirectory()) ?? false
}

/** Puts a link to the outside in place of a folder, for good. */
function swap(path) {
  attempt(() => renameSync(path, join(media, `.away-${count++}`)))
  attempt(() => symlinkSync(outside, path))
}

/** Puts a link in place of a folder, and soon the folder in its place again: it is mostly a folder when somebody looks. */
async function flip(path) {
  const away = join(dirname(path), `.${basename(path)}-away`)
  await pause(4)
  attempt(() => renameSync(path, away))
  attempt(() => symlinkSync(outside, path))
  await pause(1)
  attempt(() => lstatSync(path).isSymbolicLink() && unlinkSync(path))
  attempt(() => renameSync(away, path))
}

function pause(mostMs) {
  return new Promise((resolve) => setTimeout(resolve, Math.random() * mostMs))
}

function inboxes() {
  return (attempt(() => readdirSync(media)) ?? []).filter((name) => name.startsWith('.restoring'))
}

const ATTACKS = {
  'the working folder becomes a link': () => {
    for (const name of inboxes()) if (name !== '.restoring' && isFolder(join(media, name))) swap(join(media, name))
    // A working folder whose name is known can be there before.
    attempt(() => mkdirSync(join(media, '.restoring')))
    attempt(() => symlinkSync(outside, join(media, '.restoring/placing')))
  },
  'what is unpacked becomes links': () => {
    for (const name of inboxes()) {
      for (let i = 1; i <= 9; i++) {
        attempt(() => symlinkSync(join(outside, `${i}.jpg`), join(media, name, `${i}.jpg`)))
        attempt(() => mkdirSync(join(media, name, `10${i}.jpg`)))
      }
      for (const folder of attempt(() => readdirSync(join(media, name))) ?? [])
        if (isFolder(join(media, name, folder))) swap(join(media, name, folder))
    }
  },
  'a folder that was just made becomes a link': () => {
    if (isFolder(join(media, 'photos'))) swap(join(media, 'photos'))
  },
  'a folder becomes a link and a folder again': () => flip(join(media, 'photos')),
  'the media folder becomes a link and a folder again': () => flip(media),
  'photos become pipes, the working folder and the photos’ folder links': async () => {
    for (let i = 1; i <= 9; i++) {
      const [photo, aside, pipe] = [`photos/${i}.jpg`, `.aside-${i}`, `.pipe-${i}`].map((name) => join(media, name))
      // The pipes are there from the beginning: Node can't make one.
      if (attempt(() => lstatSync(photo).isFile())) attempt(() => renameSync(photo, aside))
      attempt(() => renameSync(pipe, photo))
      await pause(0.5)
      attempt(() => lstatSync(photo).isFIFO() && renameSync(photo, pipe))
      attempt(() => renameSync(aside, photo))
      ATTACKS['the working folder becomes a link']()
    }
    await flip(join(media, 'photos'))
  },
}

const attack = ATTACKS[kind]
process.stdout.write('ready\n')
const endMs = Date.now() + 60_000
while (Date.now() < endMs) await attack()
