"""A real Slurm on this machine, of four nodes that share its cores: `make slurm-up`. An example of an entry, too."""

from slurm.cluster import Cluster

TESTBED = Cluster(
    name="testbed",
    scheduler="slurm",
    partition="main",
    hours=24.0,
    cpus_a_gpu=1,  # eight jobs may run at once, on however few cores this machine has
    pack=1.0,
    grace=30,
)
