// Loaded into a script by a test (NODE_OPTIONS=--import=…): somebody sets the machine's clock while it runs, by CLOCK_JUMP_MS,
// at the first time that it says anything.
const jumpMs = Number(process.env.CLOCK_JUMP_MS)
const RealDate = Date
let hasJumped = false

const write = process.stderr.write.bind(process.stderr)
process.stderr.write = (...args) => {
  const written = write(...args)
  hasJumped = true
  return written
}

const now = () => RealDate.now() + (hasJumped ? jumpMs : 0)
globalThis.Date = class extends RealDate {
  constructor(...args) {
    if (args.length === 0) super(now())
    else super(...args)
  }
  static now() {
    return now()
  }
}
