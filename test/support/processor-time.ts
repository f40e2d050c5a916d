// How long something computes. A clock would count the other programs of a busy machine as well.

/** Processor time that this process has used so far, in milliseconds. */
export function processorMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}
