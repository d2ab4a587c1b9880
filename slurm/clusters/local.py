"""This machine: no scheduler, one job at a time, each with all the cores."""

from slurm.cluster import Cluster

LOCAL = Cluster(name="local")
