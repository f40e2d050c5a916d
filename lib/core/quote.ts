/** One word for a POSIX shell. Not zx's `$'…'`, which dash rejects. */
export function quote(word: string): string {
  return /^[A-Za-z0-9_/.,:=@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}

export function quoteAll(words: readonly string[]): string {
  return words.map(quote).join(' ')
}
