# Sourced by up and down: where a testbed is, and which of its daemons live.
PATH=$PATH:/usr/sbin:/sbin          # an ordinary `su` leaves these out
unset SLURM_CONF                    # the commands below must speak to this testbed and no other cluster
etc=/etc/slurm                      # not elsewhere: submitit drops SLURM_* from what it starts, SLURM_CONF too
mark="# Slurm testbed in "          # first line of every file of ours, the folder after it

fail() { echo "slurm/testbed/${0##*/}: $*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || fail "needs root: it starts daemons and writes $etc"
umask 022

shm=/dev/shm; [ -d $shm ] || shm=/tmp   # memory where there is some: MariaDB waits for the disk else
current=$(sed -n "1s|^$mark||p" $etc/slurm.conf 2>/dev/null || true)
folder=$(realpath -m "${1:-${current:-$shm/slurm-testbed}}")
[[ $folder =~ ^[A-Za-z0-9/._-]+$ ]] || fail "slurm.conf takes only letters, digits and / . _ - in a folder: $folder"
# Whoever removes a folder must know that it made it.
[ ! -e "$folder" ] || [[ -O $folder && -f $folder/.slurm-testbed ]] || [ -z "$(ls -A "$folder")" ] ||
  fail "$folder is not a testbed's: name another"

mkdir -p $etc
exec 9<$etc; flock 9                # one up or down at a time

# Of a process, its words; of one that is over, nothing, be it gone or a zombie.
command_line() { { tr '\0' ' ' <"/proc/$1/cmdline"; } 2>/dev/null || true; }

# Has the process a file of this testbed open?
holds() { [[ $(ls -l "/proc/$1/fd" 2>/dev/null) == *"-> $folder/"* ]]; }

# pid_of NAME: the pid of this testbed's daemon, or failure. A pid file may be left from before a crash or a reboot, and its
# number be another process by now, or a zombie, which `kill -0` takes for alive: so look at what the process is.
pid_of() {
  local pid words
  { read -r pid <"$folder/run/$1.pid"; } 2>/dev/null || return 1
  words=$(command_line "$pid")
  case $1 in
    slurmd-*) [[ $words == "slurmd -N ${1#slurmd-} "* ]] ;;
    *) [[ $words == "$1 "* ]] ;;
  esac && holds "$pid" && echo "$pid"
}

# The pids of all that runs of this testbed, the steps of jobs included, which outlive a crashed slurmd and have no pid file.
processes() {
  local process word
  for process in /proc/[0-9]*; do
    word=; { read -r -d '' word <"$process/cmdline"; } 2>/dev/null || true
    case ${word##*/} in
      munged | mariadbd | slurmdbd | slurmctld | slurmd | slurmstepd*) ! holds "${process#/proc/}" || echo "${process#/proc/}" ;;
    esac
  done
}
