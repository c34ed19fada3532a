"""The compose file is sound: what can be told without an engine, and by `docker compose` where there is one."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # ships no types

from bot.settings import ENV_NAMES, load
from tests.support.services import missing

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
EXAMPLE = (ROOT / "deploy" / "compose.env.example").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")

PUBLISHED_KEYS = {
    *("build", "image", "user", "read_only", "tmpfs", "cap_drop", "security_opt", "env_file", "environment", "ports"),
    *("volumes", "depends_on", "stop_grace_period", "restart", "healthcheck", "command"),
}


def test_every_key_is_one_of_the_compose_specification() -> None:
    """No key is misspelt"""
    assert COMPOSE.keys() <= {"name", "services", "volumes"}
    for service in SERVICES.values():
        assert service.keys() <= PUBLISHED_KEYS


def test_nobody_runs_as_root() -> None:
    """Every container has a numbered user of its own, no capabilities, and may gain no privileges"""
    for service in SERVICES.values():
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
    uid = SERVICES["bot"]["user"].split(":")[0]
    assert f"--uid {uid}" in DOCKERFILE
    assert DOCKERFILE.index("USER grapevine") > DOCKERFILE.index("useradd")


def test_images_are_pinned() -> None:
    """Every image has a version of three numbers, or is built from ours"""
    images = [service["image"] for service in SERVICES.values() if "image" in service]
    assert len(images) == len(SERVICES) - 1
    assert all(re.search(r":\d+\.\d+\.\d+", image) for image in images)


def test_everybody_is_asked_how_they_are() -> None:
    """There is a health check for each, and the bot waits for those of its servers"""
    assert "HEALTHCHECK" in DOCKERFILE
    assert all("healthcheck" in service for name, service in SERVICES.items() if name != "bot")
    waits = SERVICES["bot"]["depends_on"]
    assert waits == {name: {"condition": "service_healthy"} for name in SERVICES if name != "bot"}


def test_data_outlives_containers() -> None:
    """Every service keeps its data in a named volume"""
    used = [volume.split(":")[0] for service in SERVICES.values() for volume in service["volumes"]]
    assert sorted(used) == sorted(COMPOSE["volumes"])


def test_only_the_bot_is_reached_and_only_from_this_machine() -> None:
    """One published port, on loopback"""
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published == ["127.0.0.1:8080:8080"]


def test_secrets_come_from_the_environment_file() -> None:
    """No secret has a value in the compose file, and the example names each"""
    content = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    wanted = set(re.findall(r"(?<!\$)\$\{(\w+)", content))
    given = dict(line.split("=", 1) for line in EXAMPLE.splitlines() if line and not line.startswith("#"))
    assert wanted <= given.keys()
    assert not any(value for name, value in given.items() if re.search("PASSWORD|TOKEN|KEY", name))


def test_the_bot_understands_its_settings() -> None:
    """Everything that the bot is given is a setting of its own, and well-formed"""
    given = {
        name: re.sub(r"\$\{\w+:\?[^}]*\}", "0a1b2c", value) for name, value in SERVICES["bot"]["environment"].items()
    }
    from_file = {line.split("=", 1)[0] for line in EXAMPLE.splitlines() if "=" in line and not line.startswith("#")}
    assert given.keys() <= ENV_NAMES.keys()
    assert from_file - ENV_NAMES.keys() == {"REDIS_PASSWORD"}
    settings, _ = load(given, None)
    assert settings.neo4j_uri == "bolt://neo4j:7687"


def test_what_the_image_copies_is_there() -> None:
    """Every path that the Dockerfile copies exists and is let through"""
    sources = [
        path for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE) for path in line.split()[:-1]
    ]
    let_through = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    assert sources
    assert all((ROOT / source).exists() and source in let_through for source in sources)


def composer() -> list[str] | None:
    """Docker Compose as there is one: the plugin, or the older program that Debian has."""
    docker, program = shutil.which("docker"), shutil.which("docker-compose")
    if docker and not subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        return [docker, "compose"]
    return [program] if program else None


@pytest.mark.services
def test_compose_itself_accepts_it(tmp_path: Path) -> None:
    """Docker Compose reads the file without complaint, with the settings of the example"""
    command = composer()
    if command is None:
        missing("Docker Compose is not installed (apt-get install docker-compose)")
    content = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    is_old = " 1." in subprocess.run([*command, "version"], capture_output=True, text=True, check=True).stdout
    # The old program knows all of it but the project's name, which came later.
    (tmp_path / "docker-compose.yml").write_text(
        re.sub("^name: .*", "", content, flags=re.MULTILINE) if is_old else content
    )
    (tmp_path / ".env").write_text(re.sub("=$", "=filled", EXAMPLE, flags=re.MULTILINE))
    found = subprocess.run(
        [*command, "config", "--quiet"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stderr) == (0, "")
