"""This machine, each job in a container of Podman: `--cluster podman`."""

from slurm.cluster import Cluster

PODMAN = Cluster(name="podman", runtime="podman")
