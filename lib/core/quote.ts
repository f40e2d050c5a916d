// How words are quoted for a shell, and for sudo.
/** One word for a POSIX shell. Not zx's `$'…'`, which dash rejects. */
export function quote(word: string): string {
  return /^[A-Za-z0-9_/.,:=@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}

/** A word of a command in a sudoers file: these signs, and no others, have a backslash before them (sudo 1.9). */
export function sudoersWord(word: string): string {
  return word.replace(/[\\,:= \t#*?![\]^]/g, '\\$&')
}

export function quoteAll(words: readonly string[]): string {
  return words.map(quote).join(' ')
}
