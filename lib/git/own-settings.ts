// Git's settings for what these scripts do: the engineer's own must not change what is pushed, or keep it from being pushed.

/** What git says is read here: it must be in English. And it must not ask for a password. */
export const ENGLISH = { LC_ALL: 'C', GIT_TERMINAL_PROMPT: '0' }

/**
 * No hook of the checkout runs (husky's, git-lfs's, a company's): what is pushed is a commit that exists, and a second working tree
 * lacks what they need. An empty push option takes back those of the configuration, which Dokku's git would refuse.
 */
export const OWN_SETTINGS: readonly string[] = settings({
  'core.hooksPath': '/dev/null',
  'push.pushOption': '',
  'push.followTags': 'false',
  'push.gpgSign': 'false',
  'push.recurseSubmodules': 'no',
  'remote.origin.mirror': 'false',
  'log.showSignature': 'false',
  'log.diffMerges': 'separate',
  'advice.detachedHead': 'false',
})

/** Keeps an address as it is written: of several `url.*.insteadOf` the longest match wins. */
export function plainUrl(url: string): string[] {
  return settings({ [`url.${url}.insteadOf`]: url, [`url.${url}.pushInsteadOf`]: url, 'protocol.ssh.allow': 'always' })
}

function settings(values: Record<string, string>): string[] {
  return Object.entries(values).flatMap(([key, value]) => ['-c', `${key}=${value}`])
}
