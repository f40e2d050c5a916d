// A folder of its own for a case, gone afterwards.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export async function inFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'bc-fuzz-'))
  try {
    return await use(folder)
  } finally {
    await rm(folder, { recursive: true })
  }
}
