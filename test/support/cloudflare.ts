// Cloudflare's API as far as a purge goes.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

interface Answer {
  status: number
  success?: boolean
  errors?: readonly { code: number; message: string; error_chain?: readonly { code: number; message: string }[] }[]
  headers?: Record<string, string>
  /** Instead of JSON. */
  body?: string
}

/** Cloudflare's API as far as a purge goes. It answers with `answers` first (`cut` breaks the connection, `hang` never answers), then with success. */
export interface Cloudflare {
  /** For CLOUDFLARE_API_URL. */
  readonly url: string
  readonly answers: (Answer | 'cut' | 'hang')[]
  readonly requests: { method: string; path: string; authorization: string; body: string }[]
  stop(): Promise<void>
}

export const TOKEN = 'cf-token-that-nobody-may-see'

export async function startCloudflare(): Promise<Cloudflare> {
  const answers: Cloudflare['answers'] = []
  const requests: Cloudflare['requests'] = []
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request.setEncoding('utf8')) body += chunk
    const { method = '', url: path = '', headers } = request
    requests.push({ method, path, authorization: headers.authorization ?? '', body })
    const answer = answers.shift() ?? { status: 200 }
    if (answer === 'cut') return void request.socket.destroy()
    if (answer === 'hang') return
    const { status, success = status === 200, errors = [], headers: extra = {} } = answer
    response.writeHead(status, { 'content-type': 'application/json', ...extra })
    response.end(
      answer.body ?? JSON.stringify({ success, errors, messages: [], result: success ? { id: 'zone1' } : null }),
    )
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/client/v4`,
    answers,
    requests,
    stop: () =>
      new Promise((resolve) => {
        server.closeAllConnections()
        server.close(() => resolve())
      }),
  }
}
