"""The hooks, installed and executed by pre-commit, with the configuration of REFERENCE.md."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.test_docs import RIGHT, ROOT, WRONG, settings

pytestmark = pytest.mark.slow

HOOKS = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
SHIPPED = ("pyproject.toml", "README.md", "LICENSE", ".pre-commit-hooks.yaml")
FOLDERS = ("vmcfg", "schemas", "sample-configs", "tests/cases")


def documented(name: str) -> dict[str, Any]:
    """Return the hook of this id in the configuration of REFERENCE.md."""
    (found,) = (hook for hook in settings("repos")["repos"][0]["hooks"] if hook["id"] == name)
    hook: dict[str, Any] = found
    return hook


class Repositories:
    """A repository with the current vmcfg, and a repository of a user with descriptions."""

    def __init__(self, folder: Path) -> None:
        self.vmcfg = folder / "vmcfg"
        self.user = folder / "user"
        self.env = {
            **{
                key: value
                for key, value in os.environ.items()
                if not key.startswith(("GIT_", "PYTHONPATH"))
            },
            "HOME": str(folder),
            "PRE_COMMIT_HOME": str(folder / "cache"),
            "GIT_CONFIG_NOSYSTEM": "1",
        }
        for name in ("AUTHOR", "COMMITTER"):
            self.env |= {f"GIT_{name}_NAME": "a", f"GIT_{name}_EMAIL": "a@b"}
        self.vmcfg.mkdir()
        for name in SHIPPED:
            shutil.copy(ROOT / name, self.vmcfg / name)
        for name in FOLDERS:
            shutil.copytree(
                ROOT / name, self.vmcfg / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        self.user.mkdir()
        (self.user / "edge.vmcfg.yaml").write_text(RIGHT)
        (self.user / "other.yaml").write_text("not: a description\n")
        for repository in (self.vmcfg, self.user):
            self.git(repository, "init", "-q")
            self.git(repository, "add", ".")
            self.git(repository, "commit", "-qm", "first")

    def git(self, repository: Path, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=repository,
            env=self.env,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def configure(self, **hook: object) -> None:
        """Use the configuration of REFERENCE.md, with this repository and, if given, `hook`."""
        config = settings("repos")
        (repo,) = config["repos"]
        repo["repo"], repo["rev"] = str(self.vmcfg), self.git(self.vmcfg, "rev-parse", "HEAD")
        repo["hooks"] = [hook or documented("vmcfg")]
        (self.user / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config))
        self.git(self.user, "add", ".")

    def run(self, **env: str) -> subprocess.CompletedProcess[str]:
        """Run pre-commit for all files."""
        return subprocess.run(
            [
                sys.executable,
                "-m",
                "pre_commit",
                "run",
                "--all-files",
                "--verbose",
                "--color",
                "never",
            ],
            cwd=self.user,
            env=self.env | env,
            capture_output=True,
            text=True,
            timeout=500,
        )


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Repositories:
    return Repositories(tmp_path_factory.mktemp("pre-commit"))


def check_it_finds(repositories: Repositories, **env: str) -> None:
    (repositories.user / "edge.vmcfg.yaml").write_text(RIGHT)
    repositories.git(repositories.user, "add", ".")
    done = repositories.run(**env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Passed" in done.stdout
    (repositories.user / "edge.vmcfg.yaml").write_text(WRONG)
    repositories.git(repositories.user, "add", ".")
    done = repositories.run(**env)
    assert done.returncode == 1
    assert "edge.vmcfg.yaml:5:14: error[VMC504] " in done.stdout
    assert "other.yaml" not in done.stdout


def test_the_documented_hook_installs_itself_and_finds(repositories: Repositories) -> None:
    repositories.configure()
    check_it_finds(repositories)


def test_the_installed_vmcfg_is_used_by_the_other(
    repositories: Repositories, tmp_path: Path
) -> None:
    program = tmp_path / "vmcfg"
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m vmcfg "$@"\n')
    program.chmod(0o755)
    repositories.configure(id="vmcfg-system")
    check_it_finds(repositories, PATH=f"{tmp_path}:{os.environ['PATH']}")


def test_a_user_may_choose_files_and_options(repositories: Repositories, tmp_path: Path) -> None:
    repositories.configure(id="vmcfg", files=r"^other\.yaml$", args=["--format", "concise"])
    done = repositories.run()
    assert done.returncode == 1
    assert "other.yaml:1:1: error[VMC110] " in done.stdout
    assert "edge.vmcfg.yaml" not in done.stdout


def test_the_hook_for_plans_finds_what_is_stale(repositories: Repositories) -> None:
    hook = documented("vmcfg-emit")
    repositories.configure(**hook)
    directory = repositories.user / "plans"
    directory.mkdir()
    plan = "set-attr vcpu:0 KVM_ARM_VCPU_PMU_V3_CTRL KVM_ARM_VCPU_PMU_V3_IRQ s32"
    (repositories.user / "vms").mkdir()
    (repositories.user / "vms/edge.yaml").write_text(RIGHT)
    done = repositories.run()
    assert done.returncode == 1
    assert "plans/edge.plan: missing: run 'vmcfg emit' (vms/edge.yaml)\n" in done.stdout
    emitted = [sys.executable, "-m", "vmcfg", "emit", *hook["args"]]
    env = repositories.env | {"PYTHONPATH": str(ROOT)}
    subprocess.run(emitted, cwd=repositories.user, env=env, check=True, timeout=60)
    repositories.git(repositories.user, "add", ".")
    assert repositories.run().returncode == 0
    (repositories.user / "vms/edge.yaml").write_text(RIGHT.replace("23", "22"))
    repositories.git(repositories.user, "add", ".")
    done = repositories.run()
    assert done.returncode == 1
    assert f"plans/edge.plan:1: stale: '{plan} 23' instead of '{plan} 22' (vms/edge" in done.stdout


def test_every_hook_runs_vmcfg_on_descriptions_alone() -> None:
    assert [hook["id"] for hook in HOOKS] == ["vmcfg", "vmcfg-system", "vmcfg-emit"]
    for hook in HOOKS[:2]:
        assert hook["entry"] == "vmcfg validate"
        assert hook["files"] == r"\.vmcfg\.ya?ml$"
