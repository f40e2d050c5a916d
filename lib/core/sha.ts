// The name of a commit, as git and Dokku print it and as people read it.

/** Eight digits: how a commit is shown everywhere. */
export function shortSha(sha: string): string {
  return sha.slice(0, 8)
}

export function isSha(value: unknown): value is string {
  return typeof value === 'string' && /^[0-9a-f]{40}$/.test(value)
}

/** A full SHA on a line of its own, in what a program printed. */
export function parseSha(stdout: string): string | undefined {
  return /^[0-9a-f]{40}$/m.exec(stdout.trim())?.[0]
}
