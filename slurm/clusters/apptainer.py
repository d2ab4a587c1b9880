"""This machine, each job in a container of Apptainer: `--cluster apptainer`."""

from slurm.cluster import Cluster

APPTAINER = Cluster(name="apptainer", runtime="apptainer")
