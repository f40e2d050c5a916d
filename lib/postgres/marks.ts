// How these scripts know what is theirs on a server: by a comment on the database, never by its name or because it is empty.

/** On a database, or on that of a service, which the next run may remove. */
export const DISPOSABLE = 'book-corners-ops: disposable, made to prove a restore'

/** On a database that a swap has put aside; behind it the comment that it had. */
export const KEPT = 'book-corners-ops: kept by a restore'

/** The comment of a database that is put aside. */
export function keptComment(comment: string | null): string {
  return comment === null ? KEPT : `${KEPT}\n${comment}`
}

/** The comment that a database had before it was put aside; null when it had none. */
export function commentBefore(comment: string | null): string | null {
  return comment?.startsWith(`${KEPT}\n`) ? comment.slice(KEPT.length + 1) : null
}
