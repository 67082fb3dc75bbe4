"""A real Slurm of two nodes on this machine, without systemd or control groups."""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGES = ("munge", "slurmctld", "slurmd", "slurm-client")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel")


def why_not() -> str:
    """Return why there can be no Slurm here, after trying to install it; "" where there can."""
    os.environ["PATH"] += f"{os.pathsep}/usr/sbin"  # daemons of Debian lie there
    if os.geteuid() != 0:
        return "Slurm's daemons need root"
    if all(map(shutil.which, PROGRAMS)):
        return ""
    if shutil.which("apt-get") is None:
        return "Slurm is not installed, and without apt-get it cannot be"
    for command in (("update",), ("install", "--yes", "--no-install-recommends", *PACKAGES)):
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        done = subprocess.run(("apt-get", "-qq", *command), env=environment, capture_output=True, check=False)
        if done.returncode:
            return f"apt-get {command[0]} failed: {done.stderr.decode()[-200:]}"
    return ""


@contextmanager
def slurm(folder: Path) -> Iterator[dict[str, str]]:
    """Run Slurm with its files in ``folder``; give the environment in which its commands find it.

    Raises RuntimeError with its logs where it does not come up in a minute.
    """
    configuration = _configure(folder)
    environment = os.environ | {"SLURM_CONF": str(configuration)}
    environment.pop("OMP_NUM_THREADS", None)
    daemons = [
        ("munged", "--foreground", "--force", *(f"--{name}={folder}/munge.{end}" for name, end in _MUNGE)),
        ("slurmctld", "-D", "-f", configuration),
        *(("slurmd", "-D", "-N", node, "-f", configuration) for node in ("node1", "node2")),
    ]
    running: list[subprocess.Popen[bytes]] = []
    try:
        for command in daemons:
            with (folder / f"{command[0]}.out").open("ab") as log:
                running.append(
                    subprocess.Popen(list(map(str, command)), stdout=log, stderr=log, env=environment)
                )
            if command[0] == "munged":
                _wait_until((folder / "munge.socket").exists, folder)
        idle = ("sinfo", "--noheader", "--format=%A")  # nodes: allocated/idle
        _wait_until(lambda: _output(idle, environment) == "0/2", folder)
        yield environment
    finally:
        subprocess.run(["scancel", f"--user={getpass.getuser()}"], env=environment, check=False)
        _wait_quietly(lambda: not _output(("squeue", "--noheader"), environment))
        for daemon in reversed(running):
            daemon.send_signal(signal.SIGTERM)
        for daemon in running:
            try:
                daemon.wait(5)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


_MUNGE = (
    ("socket", "socket"),
    ("key-file", "key"),
    ("pid-file", "pid"),
    ("log-file", "log"),
    ("seed-file", "seed"),
)


def _configure(folder: Path) -> Path:
    folder.chmod(0o755)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.touch(0o600)
    key.write_bytes(os.urandom(1024))
    host = socket.gethostname()
    controller, *nodes = _free_ports(3)
    lines = {
        "ClusterName": "tokka",
        "SlurmctldHost": f"{host}(127.0.0.1)",
        "SlurmctldPort": controller,
        "SlurmUser": "root",
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={folder}/munge.socket",
        "CredType": "cred/munge",
        "StateSaveLocation": folder / "state",
        "SlurmdSpoolDir": folder / "spool" / "%n",
        "SlurmctldPidFile": folder / "slurmctld.pid",
        "SlurmdPidFile": folder / "%n.pid",
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_Core",
        "JobAcctGatherType": "jobacct_gather/none",
        "AccountingStorageType": "accounting_storage/none",
        "MpiDefault": "none",
        "ReturnToService": 2,
        "KillWait": 5,
        "PartitionName": "main Nodes=ALL Default=YES MaxTime=INFINITE State=UP",
    }
    described = [f"{key}={value}" for key, value in lines.items()]
    for number, port in enumerate(nodes, start=1):
        where = f"NodeHostname={host} NodeAddr=127.0.0.1 Port={port}"
        described.insert(-1, f"NodeName=node{number} {where} CPUs=1 RealMemory=500")
    path = folder / "slurm.conf"
    path.write_text("\n".join(described) + "\n")
    return path


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for end in sockets:
        end.bind(("127.0.0.1", 0))
    ports = [end.getsockname()[1] for end in sockets]
    for end in sockets:
        end.close()
    return ports


def _output(command: tuple[str, ...], environment: dict[str, str]) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _wait_until(is_so: Callable[[], bool], folder: Path) -> None:
    if not _wait_quietly(is_so):
        logs = "\n".join(path.read_text()[-1000:] for path in folder.glob("*.out"))
        raise RuntimeError(f"Slurm did not come up:\n{logs}")


def _wait_quietly(is_so: Callable[[], bool], seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
