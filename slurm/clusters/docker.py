"""This machine, each job in a container of Docker: `--cluster docker`."""

from slurm.cluster import Cluster

DOCKER = Cluster(name="docker", runtime="docker")
