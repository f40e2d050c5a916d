// A monitor of the healthchecks.io kind.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

interface Ping {
  path: string
  body: string
}

/** A monitor of the healthchecks.io kind that keeps what it was told. */
export async function startMonitor(): Promise<{ url: string; pings: Ping[]; stop: () => void }> {
  const pings: Ping[] = []
  const server = createServer((request, response) => {
    let body = ''
    request.setEncoding('utf8').on('data', (text: string) => {
      body += text
    })
    request.on('end', () => {
      pings.push({ path: request.url ?? '', body })
      response.end('OK')
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/check-uuid`,
    pings,
    stop: () => void server.close(),
  }
}
