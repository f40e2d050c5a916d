// What these scripts take from zx. Node reads a CommonJS package that is imported a second time, to find the names in it: with
// zx that was a fifth of a script's start (Node 20, zx 8.8). A package that is required it only runs.
import { createRequire } from 'node:module'

export const { $, chalk } = createRequire(import.meta.url)('zx/core') as typeof import('zx/core')
