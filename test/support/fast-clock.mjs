// Loaded into a script by a test (NODE_OPTIONS=--import=…): what it waits for on purpose takes a twentieth of the time.
import { syncBuiltinESMExports } from 'node:module'
import timers from 'node:timers/promises'

const FASTER = 20

const wait = timers.setTimeout
timers.setTimeout = (ms = 0, ...rest) => wait(ms / FASTER, ...rest)
const now = performance.now.bind(performance)
performance.now = () => now() * FASTER
syncBuiltinESMExports()
