/** One word for a POSIX shell. Not zx's `$'…'`, which dash rejects. */
export const quote = (word: string): string =>
  /^[A-Za-z0-9_/.,:=@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`

export const quoteAll = (words: readonly string[]): string => words.map(quote).join(' ')
