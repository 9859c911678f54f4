#!/bin/bash
# A Slurm of one node on the loopback, without systemd, accounting or cgroups; as root.
#   slurm.sh start DIR [PORT]     state, logs and slurm.conf in DIR; SLURM_CONF=DIR/slurm.conf is what commands need
#   slurm.sh stop DIR
# Debian: apt-get install -y --no-install-recommends slurmctld slurmd slurm-client munge
set -eu
action=${1:?usage: slurm.sh start|stop DIR [PORT]} state=${2:?usage: slurm.sh start|stop DIR [PORT]} port=${3:-17817}
export SLURM_CONF=$state/slurm.conf

if [ "$action" = stop ]; then
	for name in slurmd slurmctld; do
		[ -s "$state/$name.pid" ] && kill "$(cat "$state/$name.pid")" || true
	done
	exit 0
fi

mkdir -p "$state"/{controller,node,log}
install -d -o munge -g munge -m 0755 /run/munge
if [ ! -s /etc/munge/munge.key ]; then
	head -c 1024 /dev/urandom > /etc/munge/munge.key
	chown munge:munge /etc/munge/munge.key
	chmod 400 /etc/munge/munge.key
fi
[ -S /run/munge/munge.socket.2 ] && munge -n > /dev/null 2>&1 || runuser -u munge -- /usr/sbin/munged --force

host=$(hostname -s)
cat > "$SLURM_CONF" <<CONF
ClusterName=vaex
SlurmctldHost=$host(127.0.0.1)
AuthType=auth/munge
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
SlurmctldPort=$port
SlurmdPort=$((port + 1))
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation=$state/controller
SlurmdSpoolDir=$state/node
SlurmctldPidFile=$state/slurmctld.pid
SlurmdPidFile=$state/slurmd.pid
SlurmctldLogFile=$state/log/slurmctld.log
SlurmdLogFile=$state/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SchedulerType=sched/builtin
SchedulerParameters=batch_sched_delay=0,sched_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
KillWait=30
JobRequeue=0
MaxArraySize=3
MinJobAge=60
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=8000 State=UNKNOWN
PartitionName=local Nodes=ALL Default=YES MaxTime=60 State=UP
CONF
/usr/sbin/slurmctld -c -f "$SLURM_CONF"
/usr/sbin/slurmd -f "$SLURM_CONF"
for _ in $(seq 150); do
	sinfo -h -o %T 2> /dev/null | grep -q idle && exit 0
	sleep 0.2
done
echo "slurm.sh: the node does not become idle; see $state/log" >&2
exit 1
