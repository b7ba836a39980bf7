"""Real repositories in a directory of their own, with a git that knows nothing of the user who runs the tests."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_dogfood.git.command import Limits
from pytest_dogfood.git.repository import Repository, Survey

PLAN = "workplans/X-WP-0001.md"
IDENTITY = "[user]\n\tname = Ann\n\temail = ann@example.org\n"
QUICK = Limits(fetch=20, commit=20, other=20, grace=0.5)


def isolated(home: Path) -> dict[str, str]:
    """Return an environment in which only what `home` says configures git."""
    home.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "SSH_"))}
    (home / ".gitconfig").write_text(
        f"{IDENTITY}[init]\n\tdefaultBranch = main\n[commit]\n\tgpgSign = false\n"
    )
    return {**kept, "HOME": str(home), "XDG_CONFIG_HOME": str(home / "xdg"), "GIT_CONFIG_NOSYSTEM": "1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """A work tree, and git as a person uses it there."""

    path: Path
    environment: Mapping[str, str]

    @property
    def plan(self) -> Path:
        return self.path / PLAN

    def git(self, *arguments: str, ok: bool = True) -> bytes:
        done = subprocess.run(
            ["git", *arguments], cwd=self.path, env=self.environment, capture_output=True, check=False
        )
        assert not ok or done.returncode == 0, done.stderr.decode()
        return done.stdout

    def does(self, *arguments: str) -> bool:
        """Return whether git does what it is asked for."""
        done = subprocess.run(
            ["git", *arguments], cwd=self.path, env=self.environment, capture_output=True, check=False
        )
        return done.returncode == 0

    def out(self, *arguments: str, ok: bool = True) -> str:
        return self.git(*arguments, ok=ok).decode().rstrip("\n")

    @property
    def head(self) -> str:
        return self.out("rev-parse", "HEAD")

    def write(self, content: bytes | str, name: str = PLAN) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def commit(self, content: bytes | str, name: str = PLAN) -> str:
        """Commit one file with this content, and give the commit's id."""
        self.write(content, name)
        self.git("--literal-pathspecs", "add", "--force", "--", name)
        self.git("commit", "--quiet", "--allow-empty", "--message=by hand")
        return self.head

    def hook(self, name: str, script: str) -> None:
        path = self.path / ".git/hooks" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def having(self, **variables: str) -> Checkout:
        """Return the same checkout as it is seen with these environment variables."""
        return Checkout(path=self.path, environment={**self.environment, **variables})

    def repository(self, limits: Limits = QUICK) -> Repository:
        return Repository(self.path, limits=limits, environment=self.environment)


@dataclass(frozen=True, slots=True, kw_only=True)
class Farm:
    """A directory full of repositories."""

    root: Path
    environment: Mapping[str, str]

    def checkout(self, name: str = "here") -> Checkout:
        """Make a repository of its own, without any commit."""
        path = self.root / name
        path.mkdir()
        made = Checkout(path=path, environment=self.environment)
        made.git("init", "--quiet")
        return made

    def origin(self) -> Checkout:
        """Make a bare repository with one commit of one workplan."""
        first = self.checkout("first")
        first.commit("status: todo\n")
        first.git("clone", "--quiet", "--bare", str(first.path), str(self.root / "origin.git"))
        return self.at("origin.git")

    def clone(self, name: str = "here", *options: str) -> Checkout:
        url = f"file://{self.root}/origin.git"
        self.at(".").git("clone", "--quiet", *options, url, str(self.root / name))
        return self.at(name)

    def at(self, name: str) -> Checkout:
        return Checkout(path=self.root / name, environment=self.environment)


def survey(checkout: Checkout, *, offline: bool = False, **variables: str) -> Survey:
    return checkout.having(**variables).repository().survey(offline=offline)


def permissions(found: Survey) -> tuple[bool, bool]:
    return found.condition.writes_hub, found.condition.writes_file


def remote_moves_on(farm: Farm) -> None:
    first = farm.at("first")
    first.commit(f"status: done {first.head}\n")
    first.git("push", "--quiet", str(farm.root / "origin.git"), "main")
