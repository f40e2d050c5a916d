// An app with the shape of the real one's repository, and stand-ins for what its workflows fetch from the network.
import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'

// Not a line of it is the real app's: only what its CI needs to find is where it is there.
const MANAGE = `import json, os, sys
import django
if not os.environ.get("DJANGO_SECRET_KEY"):
    sys.exit("DJANGO_SECRET_KEY must be set.")
if not os.environ["DATABASE_URL"].startswith("postgis://"):
    sys.exit("no database")
command = sys.argv[1]
if command == "export_openapi_schema":
    json.dump({"openapi": "3.1.0", "info": {"title": "Small"}}, sys.stdout)
elif command in ("migrate", "createcachetable", "collectstatic", "test"):
    print("ran", *sys.argv[1:])
else:
    sys.exit(f"Unknown command: {command!r}")
`
const NOXFILE = `import nox
nox.options.default_venv_backend = "uv"
nox.options.error_on_missing_interpreters = True

@nox.session(python=["3.14"])
def tests(session):
    session.install("-r", "requirements.txt")
    session.run("python", "manage.py", "migrate", "--run-syncdb")
    session.run("python", "manage.py", "test")

@nox.session(python=["3.14"])
def validate_openapi(session):
    session.install("-r", "requirements.txt")
    session.run("bash", "-c", "python manage.py export_openapi_schema > schema.json", external=True)
    session.run("python", "-c", "import json; json.load(open('schema.json'))")

@nox.session(python=["3.14"])
def e2e(session):
    session.install("-r", "requirements.txt")
    session.run("python", "manage.py", "collectstatic", "--noinput")
`
export const SMALL_APP: Record<string, string> = {
  'requirements.txt': 'django==6.0.6\n',
  'requirements-docs.txt': 'zensical\n',
  'noxfile.py': NOXFILE,
  'manage.py': MANAGE,
  'mkdocs.yml': 'site_name: Small\n',
  'docs/index.md': '# Small\n',
  'package.json': JSON.stringify({
    name: 'small',
    private: true,
    scripts: { 'build:css': 'mkdir -p static/css && echo "a{b:c}" > static/css/app.css' },
  }),
  'package-lock.json': JSON.stringify({
    name: 'small',
    lockfileVersion: 3,
    requires: true,
    packages: { '': { name: 'small' } },
  }),
  'app.json': JSON.stringify({
    scripts: { dokku: { predeploy: 'python manage.py migrate --noinput && python manage.py createcachetable' } },
    cron: [{ command: 'python manage.py remind', schedule: '0 10 * * *' }],
    healthchecks: { web: [{ type: 'startup', name: 'web check', path: '/health/', attempts: 3, timeout: 5, wait: 5 }] },
  }),
}

export async function writeSmallApp(folder: string): Promise<void> {
  for (const [path, text] of Object.entries(SMALL_APP)) {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), text)
  }
}

// What is installed is there in its environment alone: `django`, by its requirements file.
const UV = `#!/bin/sh
echo "uv $*" >> "$TOOLS_LOG"
case "$1 $2" in
"venv --python")
  mkdir -p "$4/bin" "$4/packages"
  printf '#!/bin/sh\\nPYTHONPATH=%s exec python3 "$@"\\n' "$4/packages" > "$4/bin/python"
  chmod +x "$4/bin/python" ;;
"pip install")
  [ "$3" = --python ] || { echo "error: No virtual environment found" >&2; exit 2; }
  venv=$4; shift 4
  while [ $# -gt 0 ]; do
    case "$1" in
    -r) grep -q '^django' "$2" && touch "$venv/packages/django.py"
        [ -f "$2" ] || { echo "error: File not found: $2" >&2; exit 2; }; shift ;;
    zensical==[0-9]*.[0-9]*) cp "$TOOLS/zensical" "$venv/bin/zensical" ;;
    *) echo "error: not pinned: $1" >&2; exit 2 ;;
    esac
    shift
  done ;;
"run python") shift 2; exec python3 "$@" ;;
*) echo "error: unrecognized subcommand '$1'" >&2; exit 2 ;;
esac
`
const UVX = `#!/bin/sh
echo "uvx $*" >> "$TOOLS_LOG"
case "$1" in
nox@[0-9]*.[0-9]*) shift; exec python3 "$TOOLS/nox.py" "$@" ;;
*) echo "error: not pinned: $1" >&2; exit 2 ;;
esac
`
const NOX = `import os, subprocess, sys, tempfile, types
sessions = {}
nox = types.ModuleType("nox")
nox.options = types.SimpleNamespace()
def session(python=None):
    def add(function):
        sessions[function.__name__] = function
        return function
    return add
nox.session = session
sys.modules["nox"] = nox

class Session:
    def __init__(self):
        self.folder = tempfile.mkdtemp()
        self.posargs = []
        os.symlink(sys.executable, os.path.join(self.folder, "python"))
    def install(self, *words):
        if "django" in open(words[1]).read():
            open(os.path.join(self.folder, "django.py"), "w").close()
    def run(self, *words, external=False, env={}):
        own = {"PYTHONPATH": self.folder, "PATH": self.folder + ":" + os.environ["PATH"]}
        status = subprocess.run(words, env={**os.environ, **own, **env}).returncode
        if status:
            sys.exit(status)

exec(compile(open("noxfile.py").read(), "noxfile.py", "exec"), {})
wanted = sys.argv[sys.argv.index("--session") + 1]
if wanted not in sessions:
    sys.exit("nox > Sessions not found: " + wanted)
sessions[wanted](Session())
print("nox > Session", wanted, "was successful.")
`
const ZENSICAL = `#!/bin/sh
echo "zensical $*" >> "$TOOLS_LOG"
[ "$1" = build ] || exit 2
[ -f mkdocs.yml ] || [ -f zensical.toml ] || { echo "Error: Config file 'mkdocs.yml' does not exist." >&2; exit 1; }
mkdir -p site && cp docs/* site/
`

/** Programs that stand in for those that a workflow installs or downloads. They fail as those do. */
export async function writeTools(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  for (const [name, text] of Object.entries({
    sudo: '#!/bin/sh\nexec "$@"\n',
    'apt-get': '#!/bin/sh\necho "apt-get $*" >> "$TOOLS_LOG"\n',
    uv: UV,
    uvx: UVX,
    'nox.py': NOX,
    zensical: ZENSICAL,
  })) {
    await writeFile(join(folder, name), text)
    await chmod(join(folder, name), 0o755)
  }
}
