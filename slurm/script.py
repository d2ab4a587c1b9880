"""Script: what sbatch is given for one array, rendered by submitit."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import submitit

from slurm.array import ranges
from slurm.cluster import CHECKOUT, Cluster, ranks
from slurm.scheduler import call
from slurm.submission import Sent
from suite.store import write_text
from suite.task import Resources


class Script(submitit.SlurmExecutor):
    """The sbatch script of one array. Only strings cross to the nodes: a task finds what to run by the folder of its
    submission, its array's name and its index. `command`, Python's words, is another program than the job."""

    def __init__(
        self, cluster: Cluster, folder: Path, array: Sent, dependency: str = "", *, command: Sequence[str] = ()
    ) -> None:
        super().__init__(folder, python=shlex.quote(cluster.python or sys.executable))
        self.array, self.cluster = array, cluster
        self.command = command or ["-m", "slurm.job", str(folder), array.name]
        self.update_parameters(**parameters(cluster, array, dependency))
        self.parameters["map_count"] = len(array.tasks)

    @classmethod
    def affinity(cls) -> int:
        return 2  # a dry run needs no Slurm

    @property
    def text(self) -> str:
        words = [self.python, "-u", shlex.join(self.command)]
        without_srun = [] if self.cluster.srun else ["exec"]  # the shell would keep the signals to itself
        text: str = self._make_submission_file_text(" ".join([*without_srun, *words]), "")
        return text

    def send(self) -> str:
        """Hands the script to sbatch: the job's number."""
        path = self.folder / f"{self.array.name}.sh"
        write_text(path, self.text)
        job: str = self._get_job_id_from_submission_command(call("sbatch", str(path), timeout=120))
        return job


def parameters(cluster: Cluster, array: Sent, dependency: str = "") -> dict[str, Any]:
    """submitit's parameters for one array on a cluster."""
    asked = {name: value for name, value in array.asked.items() if name != "minutes"}
    here = Resources(**asked)
    processes = ranks(here) // here.nodes
    cpus = -(-here.cpus // processes)
    more = dict(_option(line) for line in cluster.lines)
    more["array"] = f"{ranges(array.indices)}%{array.parallel or array.size}"
    more |= {"requeue": True, "kill-on-invalid-dep": "yes", "chdir": str(CHECKOUT)}
    if not cluster.srun:
        more["signal"] = f"B:USR2@{cluster.grace}"
    gres = cluster.gres.format(gpus=here.gpus)
    given = {
        "account": cluster.account,
        "partition": cluster.partition,
        "qos": cluster.qos,
        "constraint": cluster.constraint,
        "mail_user": cluster.mail_user,
        "mail_type": cluster.mail_type,
        "exclude": ",".join(array.avoid),
        "dependency": dependency,
        "gres": gres if here.gpus and gres != "none" else "",
        "gpus_per_node": here.gpus if not cluster.gres else 0,
        "setup": list(cluster.setup),
    }
    return {
        "job_name": array.name,
        "time": array.asked["minutes"],
        "nodes": here.nodes,
        "ntasks_per_node": processes,
        "cpus_per_task": cpus,
        "mem": f"{int(here.memory_gb * 1024)}M",
        "signal_delay_s": cluster.grace,
        "wckey": cluster.wckey or None,  # submitit would set its own, which many sites refuse
        "stderr_to_stdout": True,
        "use_srun": cluster.srun,
        "srun_args": [f"--cpus-per-task={cpus}"],  # which srun does not inherit
        "additional_parameters": more,
        **{name: value for name, value in given.items() if value},
    }


def _option(line: str) -> tuple[str, Any]:
    """'--reservation=vision' -> ('reservation', 'vision'); '--exclusive' -> ('exclusive', True)."""
    name, given, value = line.removeprefix("--").partition("=")
    return name, value if given else True
