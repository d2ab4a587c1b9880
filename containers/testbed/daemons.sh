# Sourced by up and down: where a testbed is, what is its own, and which of its daemons live.
PATH=$PATH:/usr/sbin:/sbin          # an ordinary `su` leaves these out
unset DOCKER_HOST DOCKER_CONTEXT CONTAINERS_CONF CONTAINERS_STORAGE_CONF   # the commands below speak to this testbed and no other
opt=/opt/apptainer-testbed          # fixed: the path is written into the programs
wrapper=/usr/local/bin/apptainer
mark="# Containers testbed in "     # second line of the wrapper, the folder after it

fail() { echo "containers/testbed/${0##*/}: $*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || fail "needs root: it installs packages and starts daemons"
umask 022

# owned FOLDER WORD, vacant FOLDER: whoever removes a folder must know that it made it.
owned() { [[ -O $1 && -f $1/.containers-testbed && $(<"$1/.containers-testbed") == "$2" ]]; }
vacant() { [ ! -e "$1" ] || [ -z "$(ls -A "$1")" ]; }

shm=/dev/shm; [ -d $shm ] || shm=/tmp
folder=$(realpath -m "${FOLDER:-$shm/containers-testbed}")
recorded=$(cat "$folder/.containers-testbed" 2>/dev/null || true)
data=$(realpath -m "${DATA:-${recorded:-/var/tmp/containers-testbed}}")
[[ $folder$data =~ ^[A-Za-z0-9/._-]+$ ]] || fail "FOLDER and DATA may have letters, digits and / . _ - only: $folder, $data"
[ -z "$recorded" ] || [ "$recorded" = "$data" ] || fail "the testbed in $folder has its data in $recorded, not in $data"
vacant "$folder" || owned "$folder" "$data" || fail "$folder is not a testbed's: name another FOLDER"

exec 9</usr/local/bin; flock 9      # one up or down at a time

# The wrapper is written last and removed first: where it is, the Apptainer behind it is whole.
our_apptainer() { [ "$(sed -n 2p $wrapper 2>/dev/null)" = "$mark$folder" ]; }

# Of a process, its words; of one that is over, nothing, be it gone or a zombie.
command_line() { { tr '\0' ' ' <"/proc/$1/cmdline"; } 2>/dev/null || true; }

# Has the process a file of this testbed open, or is it in one of its folders?
holds() { [[ $(ls -l "/proc/$1/fd" "/proc/$1/cwd" 2>/dev/null) == *"-> "@("$folder"|"$data")/* ]]; }

# pid_of PROGRAM: the pid of this testbed's daemon, or failure. A pid file may be left from before a crash or a reboot, and its
# number be another process by now, or a zombie, which `kill -0` takes for alive: so look at what the process is.
pid_of() {
  local pid
  pid=$(cat "$folder/run/$1.pid" 2>/dev/null) && [ -n "$pid" ] || return 1
  [[ $(command_line "$pid") == "$1 "* ]] && holds "$pid" && echo "$pid"
}

# The pids of all that runs of this testbed, what keeps containers included, which outlives a crashed dockerd.
processes() {
  local process word
  for process in /proc/[0-9]*; do
    word=; { read -r -d '' word <"$process/cmdline"; } 2>/dev/null || true
    case ${word##*/} in
      dockerd | containerd | containerd-shim* | docker-registry | conmon) ! holds "${process#/proc/}" || echo "${process#/proc/}" ;;
    esac
  done
}
