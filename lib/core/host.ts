// A host that is reached over SSH, as DOKKU_HOST names it: `vps.example.org`, or `vps.example.org:2222`.

interface Host {
  name: string
  /** Undefined: what the user's ssh configuration says, else 22. */
  port: string | undefined
}

export function parseHost(text: string): Host {
  const [name = '', port] = text.split(':')
  return { name, port }
}

/** Whether this can be a DOKKU_HOST. */
export function isHost(text: string): boolean {
  const { port } = parseHost(text)
  return /^[A-Za-z0-9][A-Za-z0-9.-]*(:\d{1,5})?$/.test(text) && (port === undefined || isPort(Number(port)))
}

function isPort(port: number): boolean {
  return port >= 1 && port <= 65_535
}

/** What to type to log in, e.g. `ssh -p 2222 dokku@vps.example.org`. */
export function sshLine(user: string, host: string): string {
  const { name, port } = parseHost(host)
  return `ssh ${port === undefined ? '' : `-p ${port} `}${user}@${name}`
}

/** What to type to see the keys that it shows. */
export function keyscanLine(host: string): string {
  const { name, port } = parseHost(host)
  return `ssh-keyscan ${port === undefined ? '' : `-p ${port} `}${name}`
}

/** Its name in a line of known_hosts. */
export function knownHostsName(host: string): string {
  const { name, port } = parseHost(host)
  return port === undefined || Number(port) === 22 ? name : `[${name}]:${port}`
}
