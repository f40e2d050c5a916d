// Fuzz cases of the network: servers that answer otherwise than expected.
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createMonitor } from '../../lib/cli/monitor.ts'
import { oneLine } from '../../lib/core/format.ts'
import { purgeCache } from '../../lib/deploy/cloudflare.ts'
import { verifySite } from '../../lib/verify/checks.ts'
import { failureList, resultLine, resultsJson } from '../../lib/verify/report.ts'
import { hostileName, hostileText, oddAnswer, otherShape, secretOf } from './hostile.ts'
import { type Case, judged } from './judge.ts'
import type { Random } from './random.ts'

interface Answer {
  status: number
  headers: Record<string, string>
  body: string
  /** Its connection ends in the middle, or it never ends. */
  ending: 'well' | 'cut' | 'never'
}

const NEVER_MS = 400

function answerOf(random: Random, right: unknown): Answer {
  const header = (): string => hostileName(random).replace(/[^\u0020-\u007e\u0080-\u00ff]/g, '')
  return {
    status: random.pick([200, 200, 200, 201, 301, 302, 400, 403, 404, 429, 500, 503]),
    headers: {
      'content-type': random.pick(['application/json', 'text/html', 'text/html; charset=x', header()]),
      ...(random.chance(0.2)
        ? { location: random.pick(['/', '//', 'http://127.0.0.1:1/', 'javascript:1', header()]) }
        : {}),
      ...(random.chance(0.2) ? { 'retry-after': random.pick(['0', '-1', 'x', '1e9', 'Mon, 99 Feb']) } : {}),
    },
    body: random.pick([
      // Most often, for there is most that can be wrong with it.
      ...Array.from({ length: 4 }, () => () => oddAnswer(random, right)),
      () => hostileText(random),
      () => `<html>${hostileText(random)}</html>`,
    ])(),
    ending: random.pick([...Array.from({ length: 6 }, () => 'well' as const), 'cut', 'never']),
  }
}

function send(response: ServerResponse, { status, headers, body, ending }: Answer): void {
  response.writeHead(status, headers)
  response.write(body)
  if (ending === 'well') response.end()
  if (ending === 'cut') response.destroy()
  if (ending === 'never') setTimeout(() => response.destroy(), NEVER_MS).unref()
}

async function serving<T>(answer: Answer, use: (url: string) => Promise<T>): Promise<T> {
  const server = createServer((_, response) => send(response, answer))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  try {
    return await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  } finally {
    server.closeAllConnections()
    server.close()
  }
}

function inWords({ body, ...rest }: Answer): string {
  return `${JSON.stringify(rest)} ${oneLine(JSON.stringify(body), 250)}`
}

export function cloudflare(random: Random): Case {
  const secret = secretOf(random)
  const error = { code: 6003, message: hostileText(random, secret), error_chain: [{ code: 1, message: 'x' }] }
  const errors = [error, error, error].map((one) => otherShape(random, one))
  const answer = answerOf(random, { success: false, errors })
  const token = secret.halves.join('')
  return {
    input: `Cloudflare: ${inWords(answer)}`,
    run: () =>
      judged(
        (log) =>
          serving(answer, async (CLOUDFLARE_API_URL) => {
            const settings = { CLOUDFLARE_ZONE_ID: 'zone', CLOUDFLARE_API_TOKEN: token, CLOUDFLARE_API_URL }
            await purgeCache(settings, log, AbortSignal.timeout(3000), { firstWaitMs: 1, timeoutMs: 300 }).catch(
              (error: unknown) => {
                // A Retry-After that is worth waiting for.
                if ((error as Error).name !== 'TimeoutError') throw error
              },
            )
            return undefined
          }),
        secret,
      ),
  }
}

export function monitor(random: Random): Case {
  const secret = secretOf(random)
  const answer = answerOf(random, { ok: true })
  const text = hostileText(random, secret)
  return {
    input: `a monitor: ${inWords(answer)}`,
    run: () =>
      judged(
        (log) =>
          serving({ ...answer, ending: answer.ending === 'never' ? 'cut' : answer.ending }, async (url) => {
            await createMonitor(`${url}/uuid`, log).fail(text)
            return undefined
          }),
        secret,
      ),
  }
}

export function site(random: Random): Case {
  const answer = answerOf(random, {
    type: 'FeatureCollection',
    status: 'ok',
    features: [{ type: 'Feature', geometry: { type: 'Point', coordinates: [1, 2] } }],
  })
  return {
    input: `the site: ${inWords(answer)}`,
    run: () =>
      judged((log) =>
        serving(answer, async (url) => {
          const results = await verifySite({ url, timeoutMs: 300, signal: new AbortController().signal })
          for (const result of results) log.print(resultLine(result))
          log.error(failureList(results))
          log.printJson(resultsJson(url, results, 1))
          return results.some(({ seen }) => /is not a function|Cannot read|undefined/.test(seen))
            ? `a check is a bug: ${failureList(results)}`
            : undefined
        }),
      ),
  }
}
