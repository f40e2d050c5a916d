// Reads what a server on the network answers.

const MOST_BYTES = 64 * 1024

/** The text of an answer, or its beginning: whoever was asked may answer without an end. */
export async function textOf(response: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let count = 0
  for await (const chunk of response.body ?? []) {
    chunks.push(chunk)
    count += chunk.length
    // This ends the connection, too.
    if (count >= MOST_BYTES) break
  }
  return new TextDecoder().decode(Buffer.concat(chunks).subarray(0, MOST_BYTES))
}
