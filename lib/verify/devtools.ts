import type { Readable, Writable } from 'node:stream'
import { Unexpected } from './request.ts'

export type Params = Record<string, unknown>

/** A conversation with a browser in Chrome's DevTools protocol, over the pipes of `--remote-debugging-pipe`. */
export interface DevTools {
  /** @throws Unexpected with the browser's own words, or when it has ended */
  send(method: string, params?: Params, session?: string): Promise<Params>
  /** Told of every event of a session, until `off` is called. */
  on(session: string, listener: (method: string, params: Params) => void): () => void
  /** Refuses all that is still waiting. */
  end(reason: string): void
}

interface Message {
  id?: number
  method?: string
  params?: Params
  sessionId?: string
  result?: Params
  error?: { message: string }
}

/** Messages are JSON, each ended by a zero byte. */
export function createDevTools({ input, output }: { input: Writable; output: Readable }): DevTools {
  const waiting = new Map<number, { resolve(result: Params): void; reject(error: Error): void }>()
  const listeners = new Map<string, Set<(method: string, params: Params) => void>>()
  let count = 0
  let ended: string | undefined
  let rest = ''

  const take = ({ id, method, params = {}, sessionId = '', result = {}, error }: Message): void => {
    if (id === undefined) {
      for (const listener of listeners.get(sessionId) ?? []) listener(method ?? '', params)
      return
    }
    const call = waiting.get(id)
    waiting.delete(id)
    if (error) call?.reject(new Unexpected(`the browser refused: ${error.message}`))
    else call?.resolve(result)
  }
  output.setEncoding('utf8').on('data', (text: string) => {
    const messages = (rest + text).split('\0')
    rest = messages.pop() ?? ''
    for (const message of messages) take(JSON.parse(message))
  })

  return {
    send: (method, params = {}, session) =>
      new Promise((resolve, reject) => {
        if (ended !== undefined) return reject(new Unexpected(ended))
        const id = ++count
        waiting.set(id, { resolve, reject })
        input.write(`${JSON.stringify({ id, method, params, ...(session ? { sessionId: session } : {}) })}\0`)
      }),
    on: (session, listener) => {
      const set = listeners.get(session) ?? new Set()
      listeners.set(session, set.add(listener))
      return () => {
        set.delete(listener)
        if (set.size === 0) listeners.delete(session)
      }
    },
    end: (reason) => {
      ended = reason
      for (const { reject } of waiting.values()) reject(new Unexpected(reason))
      waiting.clear()
    },
  }
}
