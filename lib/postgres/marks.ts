// How these scripts know what is theirs on a server: by a comment on the database, never by its name or because it is empty.

import { literal } from './sql.ts'

/** On a database, or on that of a service, which the next run may remove. */
export const DISPOSABLE = 'book-corners-ops: disposable, made to prove a restore'

/** On a database that a swap has put aside; behind it the comment that it had. */
export const KEPT = 'book-corners-ops: kept by a restore'

/** The comment of a database that is put aside. @param comment SQL for the one that it has, or NULL, as the result is */
export function keptComment(comment: string): string {
  return `${literal(KEPT)} || coalesce(E'\\n' || ${comment}, '')`
}

/** The comment that a database had before it was put aside; NULL when it had none. @param comment SQL for the one that it has */
export function commentBefore(comment: string): string {
  return `CASE WHEN starts_with(${comment}, ${literal(KEPT)} || E'\\n') THEN substr(${comment}, ${KEPT.length + 2}) END`
}
