"""The virtual environment of the bench: one interpreter, greenhorn from the checkout, its peers from PyPI."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from benching.machine import BenchError, apt_install, note

GREENHORN = "greenhorn"
# What a source distribution needs from the system before pip can build it.
SYSTEM_PACKAGES = {"bjoern": ("gcc", "libc6-dev", "libev-dev")}
# What a server uses where it is installed, as people who care for speed have it, and what worker classes need.
COMPANIONS = {"uvicorn": ("httptools", "uvloop"), "gunicorn": ("gevent", "packaging")}

_ABOUT = """
import json, platform, sys, sysconfig
threaded = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
print(json.dumps({
    "implementation": platform.python_implementation(),
    "version": platform.python_version(),
    "series": f"{sys.version_info[0]}.{sys.version_info[1]}{threaded}",
    "order": sys.version_info[:3],
    "free_threaded": bool(threaded),
    "executable": sys.executable,
}))
"""
_VERSION = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python: `series` is its minor version, such as 3.13 or 3.13t; `order` its version as numbers."""

    executable: str
    implementation: str
    version: str
    series: str
    order: tuple[int, ...]
    free_threaded: bool

    def __str__(self) -> str:
        return f"{self.implementation} {self.version}{' (free-threaded)' if self.free_threaded else ''}"


def ask(python: str) -> Interpreter:
    """Return what an interpreter says of itself. Raises BenchError when it is none, or older than 3.11."""
    path = shutil.which(python)
    if not path:
        raise BenchError(f"--python {python}: no such program; name one that scripts/pythons prints")
    done = subprocess.run([path, "-c", _ABOUT], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"--python {python}: {path} is no working Python: {done.stderr.strip()[-200:]}")
    facts = json.loads(done.stdout)
    found = Interpreter(**(facts | {"order": tuple(facts["order"])}))
    if found.order < (3, 11):
        raise BenchError(f"--python {python}: {found} is too old: name 3.11 or newer")
    return found


def newest(root: Path) -> Interpreter:
    """Return the newest CPython that scripts/pythons finds, free-threaded builds left aside."""
    done = subprocess.run([root / "scripts" / "pythons"], capture_output=True, text=True, check=True)
    found = [ask(path) for path in done.stdout.split()]
    fitting = [python for python in found if python.implementation == "CPython" and not python.free_threaded]
    if not fitting:
        raise BenchError("scripts/pythons finds no CPython from 3.11 on: install one, or name one with --python")
    return max(fitting, key=lambda python: python.order)


@dataclass(slots=True)
class Virtualenv:
    """A directory with an interpreter and packages, made at first use and kept while nothing changes.

    `installed` maps a package to the state in which it was installed, as the file `installed.json` has it.
    """

    root: Path
    python: Interpreter
    installed: dict[str, str] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """Its directory."""
        return self.root / ".bench" / f"venv-{self.python.series}"

    def program(self, name: str) -> str:
        """Return the path of a program inside."""
        return str(self.path / "bin" / name)

    def make(self) -> None:
        """Make it, or take over the one that is there if it belongs to this very interpreter and checkout."""
        identity = f"{self.python} {self.python.executable} {self.root}"
        self.installed = self._remembered()
        if self.installed.get("python") == identity:
            return
        note(f"making {self.path}")
        shutil.rmtree(self.path, ignore_errors=True)
        # Debian's python3 has no ensurepip without python3-venv: then the pip outside installs into it.
        bare = subprocess.run([self.python.executable, "-c", "import ensurepip"], capture_output=True, check=False)
        options = ["--without-pip"] if bare.returncode else []
        done = subprocess.run(
            [self.python.executable, "-m", "venv", *options, str(self.path)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            why = (done.stdout + done.stderr).strip()[-300:]
            raise BenchError(f"{self.python} cannot make a virtual environment: {why}")
        self.installed = {}
        self._remember("python", identity)

    def install(self, package: str) -> str | None:
        """Install a package, in its newest version, unless it is there; return why that failed, or None."""
        arguments = (
            ["--editable", str(self.root)]
            if package == GREENHORN
            else ["--upgrade", package, *COMPANIONS.get(package, ())]
        )
        state = self._checkout_state() if package == GREENHORN else "from PyPI"
        if self.installed.get(package) == state:
            return None
        note(f"installing {package}")
        why = self._pip(*arguments)
        if why and package in SYSTEM_PACKAGES and apt_install(*SYSTEM_PACKAGES[package]):
            why = self._pip(*arguments)
        if why is None:
            self._remember(package, state)
        return why

    def version(self, package: str) -> str:
        """Return the installed version of a package."""
        done = subprocess.run(
            [self.program("python"), "-c", _VERSION, package], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def _pip(self, *arguments: str) -> str | None:
        inside = Path(self.program("pip"))
        pip = (
            [self.program("python"), "-m", "pip"]
            if inside.exists()
            else [self.python.executable, "-m", "pip", "--python", self.program("python")]
        )
        done = subprocess.run(
            [*pip, "install", "--quiet", "--disable-pip-version-check", *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            return None
        output = done.stdout + done.stderr
        # The first is the cause (a compiler's, a build backend's); those that follow report it upwards.
        cause = re.search(r"^.*(?:\w+Error|fatal error|ERROR): .*$", output, re.MULTILINE)
        return cause.group().strip() if cause else f"pip exited with {done.returncode}: {output.strip()[-200:]}"

    def _checkout_state(self) -> str:
        """Return what an editable installation depends on: not the modules but their packaging."""
        return hashlib.sha256((self.root / "pyproject.toml").read_bytes()).hexdigest()

    def _remembered(self) -> dict[str, str]:
        try:
            return dict(json.loads((self.path / "installed.json").read_text()))
        except (FileNotFoundError, json.JSONDecodeError):
            return {}

    def _remember(self, package: str, state: str) -> None:
        self.installed[package] = state
        (self.path / "installed.json").write_text(json.dumps(self.installed, indent=2) + "\n")
