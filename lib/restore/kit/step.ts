// What a step of a runbook is, and the words that several of them share.
import type { Kit } from './content.ts'

/** Commands that are typed in one place. */
interface Block {
  /** Who types them where: `On the new server, as root`. */
  where: string
  commands: readonly string[]
}

export interface Step {
  title: string
  /** What to know before. */
  text?: string | undefined
  blocks: readonly Block[]
}

export const ANY = 'On the machine with this folder'
export const ROOT = 'On the new server, as root'
export const DEPLOY = 'On the new server, as deploy'
export const LAPTOP = 'On the laptop'
export const CHECKOUT = "On the laptop, in the app's checkout"

/** Where the kit lies there. */
export const KIT_THERE = '/root/kit'
export const DEFAULT_OWNER = '32767:32767'

/** A file of the kit on the new server. */
export function atServer(name: string): string {
  return `${KIT_THERE}/${name}`
}

/** A line for a person who has to find a value: it stops the block until it is filled in. */
export function asked(variable: string, what: string): string {
  return `${variable}="\${${variable}:?${what}}"`
}

export function mediaOwner({ manifest }: Kit): string {
  const owner = manifest.settings?.MEDIA_OWNER ?? DEFAULT_OWNER
  return /^\d+:\d+$/.test(owner) ? owner : DEFAULT_OWNER
}
