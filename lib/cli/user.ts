// The user who runs a command.
import { homedir, userInfo } from 'node:os'

/** Who runs this. */
export interface User {
  uid: number
  gid: number
  name: string
}

/** A user may have no name: a container's, one that was removed. Then it is the number. */
export function currentUser(): User {
  try {
    const { uid, gid, username } = userInfo()
    return { uid, gid, name: username }
  } catch {
    const uid = process.getuid?.() ?? 0
    return { uid, gid: process.getgid?.() ?? 0, name: String(uid) }
  }
}

/** HOME where it is not set; the root folder for a user whom the machine does not know. */
export function homeFolder(): string {
  try {
    return homedir() || '/'
  } catch {
    return '/'
  }
}
